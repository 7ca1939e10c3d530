"""One prompt under several settings: along a text's own tokens, and freely."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from art_local.eval.decoder import Decoder, Logits, Reads, RetracingDecoder
from art_local.eval.metrics import Comparison
from art_local.eval.setting import EXACT, Setting
from art_local.eval.tasks.prompt import Task

Say = Callable[[str], None]


@dataclass
class Outcome:
    """What one setting did on one prompt."""

    setting: Setting
    comparison: Comparison
    diverged: int | None  # the first greedy token that differs from the baseline's; None: none did
    greedy: int  # greedy tokens compared
    seconds: float
    counters: Reads | None = None
    output: str | None = None
    score: float | None = None

    def as_dict(self) -> dict[str, Any]:
        found: dict[str, Any] = {"setting": self.setting.as_dict(), "diverged": self.diverged, "greedy": self.greedy}
        if self.counters:
            found |= {"read_share": self.counters.read_share, "byte_share": self.counters.byte_share, "fallbacks": self.counters.fallbacks}
            found |= {"by_head": [[round(head, 4) for head in layer] for layer in self.counters.by_head]}
        if self.score is not None:
            found |= {"score": self.score, "output": self.output}
        return {**found, "seconds": round(self.seconds, 2), "comparison": self.comparison.as_dict()}


def along_text(
    decoder: Decoder, tokens: Sequence[int], positions: int, greedy: int, settings: Sequence[Setting], baseline: list[Logits] | None = None
) -> Iterator[Outcome]:
    """The first setting is the baseline unless one is given. The prefill is done already, up to the last positions + 1 tokens."""
    forced, following = tokens[-positions - 1 : -1], tokens[-positions:]
    free: list[int] | None = None
    for setting in settings:
        begin = time.monotonic()
        comparison, seen = Comparison(), []
        for number, logits in (each_alone if setting.alone else one_by_one)(decoder, forced, setting):
            if baseline is None:
                seen.append(logits)
            comparison.add((seen if baseline is None else baseline)[number], logits, following[number])
        if setting.alone:
            comparison.reverse()
        counters = decoder.counters()
        baseline = seen if baseline is None else baseline
        count = 0 if setting.alone else greedy  # free tokens go on from what the setting itself wrote
        chosen = freely(decoder, setting, forced[0], count)
        free = chosen if free is None else free
        yield Outcome(setting, comparison, first_difference(free, chosen), count, time.monotonic() - begin, counters)


def one_by_one(decoder: Decoder, forced: Sequence[int], setting: Setting) -> Iterator[tuple[int, Logits]]:
    decoder.start(setting)
    for number, token in enumerate(forced):
        yield number, decoder.step(token)


def each_alone(decoder: Decoder, forced: Sequence[int], setting: Setting) -> Iterator[tuple[int, Logits]]:
    """From the last step back to the first, each over what `exact` wrote before it."""
    assert isinstance(decoder, RetracingDecoder), "options and session see to it"
    for _ in one_by_one(decoder, forced, EXACT):
        pass
    decoder.put(setting)
    for number, token in reversed(list(enumerate(forced))):
        decoder.take_back()
        yield number, decoder.step(token)
        decoder.take_back()


def exact_logits(decoder: Decoder, tokens: Sequence[int], positions: int) -> list[Logits]:
    return [logits for _, logits in one_by_one(decoder, tokens[-positions - 1 : -1], EXACT)]


def freely(decoder: Decoder, setting: Setting, token: int, count: int) -> list[int]:
    if not count:
        return []
    decoder.start(setting)
    chosen = []
    for _ in range(count):
        token = int(np.argmax(decoder.step(token)))
        chosen.append(token)
    return chosen


def first_difference(first: Sequence[int], second: Sequence[int]) -> int | None:
    """Over what both have; a shorter answer that agrees so far is no divergence."""
    return next((number for number, (one, two) in enumerate(zip(first, second, strict=False)) if one != two), None)


@dataclass(frozen=True)
class Prompt:
    """A task in tokens: what is read at once, and the question, decoded token by token like the answer."""

    task: Task
    head: list[int]
    tail: list[int]


def prompt(decoder: Decoder, task: Task) -> Prompt:
    """The head is what the prompt has in common with one that asks nothing: the same for all questions on a document."""
    whole = decoder.tokens(decoder.chat(f"{task.document}\n\n{task.question}") + task.opening)
    other = decoder.tokens(decoder.chat(f"{task.document}\n\n"))
    head = next((place for place, (one, two) in enumerate(zip(whole, other, strict=False)) if one != two), len(other))
    return Prompt(task, whole[:head], whole[head:])


def on_task(decoder: Decoder, asked: Prompt, settings: Sequence[Setting]) -> Iterator[Outcome]:
    """Greedy answers; as long as they agree with the baseline's, the positions are comparable as well."""
    reference: list[Logits] | None = None
    first: list[int] = []
    for setting in settings:
        begin = time.monotonic()
        decoder.start(setting)
        logits, chosen = answer(decoder, asked)
        counters = decoder.counters()
        if reference is None:
            reference, first = logits, chosen
        outcome = Outcome(setting, Comparison(), first_difference(first, chosen), len(chosen), 0.0, counters)
        known = asked.tail[1:] + first
        same = len(asked.tail) + (len(chosen) if outcome.diverged is None else outcome.diverged)
        for mine, theirs, following in list(zip(logits, reference, known, strict=False))[:same]:
            outcome.comparison.add(theirs, mine, following)
        outcome.output = decoder.text(chosen)
        outcome.score = asked.task.score(outcome.output)
        outcome.seconds = time.monotonic() - begin
        yield outcome


def answer(decoder: Decoder, asked: Prompt) -> tuple[list[Logits], list[int]]:
    """Ends where the model ends, at the task's length, or as soon as nothing more can be won."""
    logits = [decoder.step(token) for token in asked.tail]
    chosen: list[int] = []
    while len(chosen) < asked.task.answer_tokens:
        token = int(np.argmax(logits[-1]))
        chosen.append(token)
        # a number may go on: full marks count once something else follows it
        if decoder.is_end(token) or asked.task.score(decoder.text(chosen[:-1])) == 1.0:
            break
        logits.append(decoder.step(token))
    return logits, chosen
