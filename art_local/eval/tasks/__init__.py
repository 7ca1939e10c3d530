"""Tasks in RULER's manner, made on the spot, one family a file; each asks for what only the prompt holds."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from art_local.eval.tasks import facts, needles, tracking, wordlists
from art_local.eval.tasks.prompt import Puzzle, Task, Writer, alone

Maker = Callable[[Writer, int, Random], Task]

# what hides in any text, and so can share one
PUZZLES: dict[str, Callable[[Random], Puzzle]] = {
    "single needle": needles.single,
    "multi-key needles": needles.multi_key,
    "multi-value needles": needles.multi_value,
    "multi-query needles": needles.multi_query,
    "variable tracking": tracking.variables,
}

FAMILIES: dict[str, Maker] = {
    **{family: alone(puzzle) for family, puzzle in PUZZLES.items()},
    "common words": wordlists.common,
    "frequent words": wordlists.frequent,
    "questions on documents": facts.questions,
}
