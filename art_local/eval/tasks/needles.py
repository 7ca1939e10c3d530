"""Needles: facts that nothing around them predicts, somewhere in a long text."""

from __future__ import annotations

from random import Random

from art_local.eval import words
from art_local.eval.tasks.prompt import Puzzle, spread


def single(random: Random, depth: float | None = None) -> Puzzle:
    key, value = keys(1, random)[0], number(random)
    place = random.uniform(0.05, 0.95) if depth is None else depth
    return ask("single needle", [(key, value)], [place], [key])


def multi_key(random: Random) -> Puzzle:
    """Needles of the same form under other keys lie around it."""
    pairs = [(key, number(random)) for key in keys(8, random)]
    return ask("multi-key needles", pairs, spread(len(pairs), random), [random.choice(pairs)[0]])


def multi_value(random: Random) -> Puzzle:
    """One key, four values in four places."""
    key = keys(1, random)[0]
    pairs = [(key, number(random)) for _ in range(4)]
    return ask("multi-value needles", pairs, spread(len(pairs), random), [key])


def multi_query(random: Random) -> Puzzle:
    """Four keys asked for at once."""
    pairs = [(key, number(random)) for key in keys(8, random)]
    asked = [key for key, _ in random.sample(pairs, 4)]
    return ask("multi-query needles", pairs, spread(len(pairs), random), asked)


def ask(family: str, pairs: list[tuple[str, str]], depths: list[float], asked: list[str]) -> Puzzle:
    needles = [f"One of the special magic numbers for {key} is: {value}." for key, value in pairs]
    answers = tuple(value for key, value in pairs if key in asked)
    plural = len(answers) > 1
    what = f"What {'are all the special magic numbers' if plural else 'is the special magic number'} for {listed(asked)} in the text above?"
    opening = f"The special magic number{'s' if plural else ''} for {listed(asked)} mentioned in the text {'are' if plural else 'is'}"
    return Puzzle(
        family,
        "Some special magic numbers are hidden in the following text. Memorize them.",
        needles,
        depths,
        what,
        opening,
        answers,
        answer_tokens=16 * len(answers) + 16,
        notes={"depth": depths[0]} if len(pairs) == 1 else {},
    )


def keys(count: int, random: Random) -> list[str]:
    nouns = random.sample(words.NOUNS, count)
    return [f"{random.choice(words.ADJECTIVES)}-{noun}" for noun in nouns]


def number(random: Random) -> str:
    return str(random.randrange(1_000_000, 10_000_000))


def listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + f", and {names[-1]}"
