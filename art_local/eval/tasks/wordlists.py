"""Common and frequent words: counting over the whole document, where no single place holds the answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from random import Random

from art_local.eval import words
from art_local.eval.tasks.prompt import Task, Writer

ASKED = 10
OFTEN, SELDOM = 30, 3


def common(writer: Writer, tokens: int, random: Random) -> Task:
    """Ten words appear thirty times (fewer in a short list), all the others three times."""
    pairs = shuffled_pairs(random)
    room = tokens // writer.count(" 1000. bright-lantern")
    often = max(SELDOM + 3, min(OFTEN, room // (2 * ASKED)))
    listed = [word for word in (next(pairs) for _ in range(ASKED)) for _ in range(often)]
    while len(listed) + SELDOM <= room:
        listed += [next(pairs)] * SELDOM
    random.shuffle(listed)
    numbered = cut(writer, [f"{place}. {word}" for place, word in enumerate(listed, 1)], tokens)
    counted = Counter(listed[: len(numbered)])
    return Task(
        "common words",
        "Below is a numbered list of words. Some words appear more often than others. Memorize the ones that appear most often.\n\n"
        + " ".join(numbered),
        f"What are the {ASKED} most common words in the list above?",
        f"The {ASKED} most common words in the list are:",
        tuple(word for word, _ in counted.most_common(ASKED)),
        answer_tokens=10 * ASKED,
    )


def frequent(writer: Writer, tokens: int, random: Random) -> Task:
    """Coded words drawn by Zipf's law (exponent 2): which three come most often?"""
    coded = list(dict.fromkeys("".join(random.choices(words.SYLLABLES, k=3)) for _ in range(60)))
    weights = [rank**-2.0 for rank in range(1, len(coded) + 1)]
    drawn = cut(writer, random.choices(coded, weights=weights, k=max(20, tokens)), tokens)
    return Task(
        "frequent words",
        "Read the following coded text and track the frequency of each coded word.\n\n" + " ".join(drawn),
        "What are the three most frequently appeared words in the coded text above?",
        "The three most frequently appeared words are:",
        tuple(word for word, _ in Counter(drawn).most_common(3)),
        answer_tokens=40,
    )


def shuffled_pairs(random: Random) -> Iterator[str]:
    every = [f"{adjective}-{noun}" for adjective in words.ADJECTIVES for noun in words.NOUNS]
    random.shuffle(every)
    return iter(every)


def cut(writer: Writer, items: list[str], tokens: int) -> list[str]:
    """As many items as the length allows; counted on the whole, since a list tokenises otherwise than its items."""
    low, high = 1, len(items)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if writer.count(" ".join(items[:middle])) <= tokens else (low, middle - 1)
    return items[:low]
