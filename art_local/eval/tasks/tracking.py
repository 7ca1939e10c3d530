"""Variable tracking: a value handed from name to name across the text; another chain runs beside it."""

from __future__ import annotations

from random import Random
from string import ascii_uppercase

from art_local.eval.tasks.prompt import Puzzle

HOPS = 4


def variables(random: Random) -> Puzzle:
    names = distinct(2 * (HOPS + 1), random)
    chains = [names[: HOPS + 1], names[HOPS + 1 :]]
    values = [str(random.randrange(10_000, 100_000)) for _ in chains]
    lines: list[str] = []
    depths: list[float] = []
    for chain, value in zip(chains, values, strict=True):
        places = sorted(random.uniform(0.02, 0.98) for _ in chain)
        steps = [value, *(f"VAR {name}" for name in chain)]
        lines += [f"VAR {name} = {step}." for name, step in zip(chain, steps, strict=False)]
        depths += places
    value = values[0]
    return Puzzle(
        "variable tracking",
        "Memorize and track the chain of variable assignments hidden in the following text.",
        lines,
        depths,
        f"Find all variables that are assigned the value {value} in the text above, directly or through another variable.",
        f"The {HOPS + 1} variables that are assigned the value {value} are: VAR",
        tuple(chains[0]),
        answer_tokens=12 * (HOPS + 1),
    )


def distinct(count: int, random: Random) -> list[str]:
    found: list[str] = []
    while len(found) < count:
        name = "".join(random.choices(ascii_uppercase, k=5))
        if name not in found:
            found.append(name)
    return found
