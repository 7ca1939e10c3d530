"""Tasks in RULER's manner, made on the spot, one family a file; each asks for what only the prompt holds."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from art_local.eval.tasks import facts, needles, tracking, wordlists
from art_local.eval.tasks.prompt import Task, Writer

Maker = Callable[[Writer, int, Random], Task]

FAMILIES: dict[str, Maker] = {
    "single needle": needles.single,
    "multi-key needles": needles.multi_key,
    "multi-value needles": needles.multi_value,
    "multi-query needles": needles.multi_query,
    "variable tracking": tracking.variables,
    "common words": wordlists.common,
    "frequent words": wordlists.frequent,
    "questions on documents": facts.questions,
}
