"""A text whose end can only be known from facts far back in it: what early termination must not lose."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from art_local.eval import words
from art_local.eval.tasks.needles import keys, number

FACTS = 8


def recall(tokenize: Callable[[str, bool], list[int]], hay: str, context: int, seed: int) -> list[int]:
    """Facts at even distances in a haystack, then all of them said again, last one first: `context` tokens, or too few of them."""
    random = Random(seed)
    facts = [f"The code of the {key} is {number(random)}." for key in keys(min(FACTS, len(words.NOUNS)), random)]
    closing = tokenize("\n\nAll the codes that the text above gave away:\n" + "\n".join(reversed(facts)), False)
    hidden = [tokenize(f"\n\n{fact}\n\n", False) for fact in facts]
    room = context - len(closing) - sum(map(len, hidden))
    filler = tokenize(hay[: 8 * context], True)
    if room < len(facts) or len(filler) < room:
        return filler[: max(0, room)]
    found, read = [], 0
    for order, fact in enumerate(hidden):
        until = room * (2 * order + 1) // (2 * len(hidden))
        found += filler[read:until] + fact
        read = until
    return found + filler[read:room] + closing
