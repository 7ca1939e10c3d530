"""Many puzzles in one haystack: one long prompt to read, many questions to ask."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from random import Random

from art_local.errors import UserError
from art_local.eval.tasks.prompt import Puzzle, Task, Writer

HIDDEN = "Special magic numbers and chains of variable assignments are hidden in the following text. Memorize and track them."
NAMES = re.compile(r"\w+-\w+|\d+|[A-Z]{5}")  # keys, values, variables
TRIES = 100


def shared(puzzles: Sequence[Callable[[Random], Puzzle]], writer: Writer, tokens: int, random: Random) -> list[Task]:
    """All of them in one document; no two hide the same line, or ask the same."""
    found: list[Puzzle] = []
    for puzzle in puzzles:
        found.append(unlike(puzzle, found, random))
    lines = [line for one in found for line in one.lines]
    depths = [depth for one in found for depth in one.depths]
    document = f"{HIDDEN}\n\n{writer.haystack(tokens, lines, depths, random)}"
    return [one.asked(document) for one in found]


def unlike(puzzle: Callable[[Random], Puzzle], others: Sequence[Puzzle], random: Random) -> Puzzle:
    taken = names(others)
    for _ in range(TRIES):
        one = puzzle(random)
        if not taken & names([one]):
            return one
    raise UserError(
        f"After {len(others)} puzzles in one text there are too few names left to tell another from them; take fewer --samples."
    )


def names(puzzles: Sequence[Puzzle]) -> set[str]:
    return {name for one in puzzles for line in one.lines for name in NAMES.findall(line)}
