"""A task: a document, a question about it, the answer; cut to a length in the model's own tokens."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

Count = Callable[[str], int]


@dataclass(frozen=True)
class Task:
    family: str
    document: str
    question: str
    opening: str  # how the answer begins; the model goes on from there
    answers: tuple[str, ...]
    any_of: bool = False  # one of the answers is enough
    answer_tokens: int = 48
    notes: dict[str, float] = field(default_factory=dict)

    def score(self, output: str) -> float:
        """The share of the answers that the output holds as whole words."""
        hits = [holds(output, answer) for answer in self.answers]
        return float(any(hits)) if self.any_of else sum(hits) / len(hits)


@dataclass(frozen=True)
class Puzzle:
    """Lines to hide in a text, each at its depth (0: start, 1: end), and a question that only they answer."""

    family: str
    hidden: str  # what they are, in words
    lines: Sequence[str]
    depths: Sequence[float]
    question: str
    opening: str
    answers: tuple[str, ...]
    answer_tokens: int = 48
    notes: dict[str, float] = field(default_factory=dict)

    def asked(self, document: str) -> Task:
        return Task(self.family, document, self.question, self.opening, self.answers, answer_tokens=self.answer_tokens, notes=self.notes)


def holds(output: str, answer: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(answer.lower())}(?!\w)", output.lower()) is not None


@dataclass(frozen=True)
class Writer:
    """Measures in tokens, and fills with whatever text the evaluation runs on."""

    count: Count
    filler: Sequence[str]  # sentences

    def haystack(self, tokens: int, needles: Sequence[str], depths: Sequence[float], random: Random) -> str:
        """Filler of about that many tokens, each needle as a sentence of its own at its depth (0: start, 1: end)."""
        room = tokens - sum(self.count(needle) + 2 for needle in needles)
        hay, sizes = self.fill(room, random.randrange(len(self.filler)))
        total = sum(sizes)
        # from the back, so that the places in front do not move
        for depth, needle in sorted(zip(depths, needles, strict=True), reverse=True):
            hay.insert(place(sizes, depth * total), needle)
        return " ".join(hay)

    def fill(self, tokens: int, first: int) -> tuple[list[str], list[int]]:
        hay: list[str] = []
        sizes: list[int] = []
        used, number = 0, first
        while True:
            sentence = self.filler[number % len(self.filler)]
            size = self.count(" " + sentence)
            if used + size > tokens:
                return hay, sizes
            hay.append(sentence)
            sizes.append(size)
            used, number = used + size, number + 1


def alone(puzzle: Callable[[Random], Puzzle]) -> Callable[[Writer, int, Random], Task]:
    """The puzzle in a haystack of its own."""

    def make(writer: Writer, tokens: int, random: Random) -> Task:
        one = puzzle(random)
        return one.asked(f"{one.hidden}\n\n{writer.haystack(tokens, one.lines, one.depths, random)}")

    return make


def place(sizes: Sequence[int], wanted: float) -> int:
    """Before which sentence a token position lies."""
    passed = 0
    for number, size in enumerate(sizes):
        if passed + size / 2 >= wanted:
            return number
        passed += size
    return len(sizes)


def sentences(text: str) -> list[str]:
    """Of a usable length: headings and tables make poor filler."""
    found = (" ".join(part.split()) for part in re.split(r"(?<=[.!?])\s+", text))
    return [part for part in found if 20 <= len(part) <= 600]


def spread(count: int, random: Random) -> list[float]:
    """Depths all over the document, none next to another."""
    return [(number + random.uniform(0.15, 0.85)) / count for number in range(count)]
