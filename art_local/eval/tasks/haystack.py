"""Many puzzles in one haystack: one long prompt to read, many questions to ask."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random

from art_local.errors import UserError
from art_local.eval.tasks.prompt import Puzzle, Task, Writer

NAMES = re.compile(r"\w+-\w+|\d+|[A-Z]{5}")  # keys, values, variables
TRIES = 100
MOST = 1 / 3  # of a text may be lines that hide in it: more is no haystack
ASIDE = 0.01  # how far lines that want one depth step aside for each other


def in_one_text(puzzles: Sequence[Callable[[Random], Puzzle]], writer: Writer, tokens: int, random: Random) -> list[Task]:
    """All of them in one document; no two hide the same line, or ask the same."""
    found: list[Puzzle] = []
    for puzzle in puzzles:
        found.append(unlike(puzzle, found, random))
    lines = [line for one in found for line in one.lines]
    share = sum(writer.count(line) for line in lines) / tokens
    if share > MOST:
        raise UserError(
            f"{len(found)} questions would fill {share:.0%} of a text of {tokens} tokens with their answers; "
            "take fewer --samples, or a longer --ctx or --needles."
        )
    introduction = " ".join(dict.fromkeys(one.hidden for one in found))
    hay = writer.haystack(tokens, lines, apart([depth for one in found for depth in one.depths]), random)
    return [one.asked(f"{introduction}\n\n{hay}") for one in found]


def apart(depths: Sequence[float]) -> list[float]:
    """Needles of one depth would be neighbours, and found together: they step aside, towards the middle."""
    met: Counter[float] = Counter()
    found = []
    for depth in depths:
        found.append(depth + met[depth] * (ASIDE if depth < 0.5 else -ASIDE))
        met[depth] += 1
    return [min(max(depth, 0.0), 1.0) for depth in found]


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
