"""What is asked on what: the prompts of an evaluation, each with a name of its own, the same for the same seed."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from art_local.errors import UserError
from art_local.eval.decoder import Decoder
from art_local.eval.recall import recall
from art_local.eval.tasks import FAMILIES, PUZZLES, facts, needles
from art_local.eval.tasks.haystack import in_one_text
from art_local.eval.tasks.prompt import Puzzle, Task, Writer, alone, sentences
from art_local.eval.texts import OWN, Text

RESERVE = 256  # tokens kept for the template around a document and its question, and for the answer


@dataclass(frozen=True)
class Plan:
    context: int
    positions: int = 64
    texts: int = 3
    greedy: int = 32
    needle_lengths: tuple[int, ...] = ()
    needle_depths: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9)
    families: tuple[str, ...] = ()
    samples: int = 1
    documents: Path | None = None
    seed: int = 0
    shared: bool = False  # needles and what else hides in any text, of one length, in one prompt
    scale: bool = True  # a prefill more for each text: what the quantised cache itself costs

    def as_dict(self) -> dict[str, Any]:
        """What a resumed run must share; the scale can be added to any."""
        fields = {name: value for name, value in asdict(self).items() if name != "scale" and (self.shared or name != "shared")}
        return {**fields, "documents": self.documents.name if self.documents else None}


@dataclass(frozen=True)
class TextPrompt:
    name: str
    tokens: list[int]
    kind: str = "prose"


@dataclass(frozen=True)
class TaskPrompt:
    name: str
    kind: str  # "needle", "task" or "document"
    length: int
    make: Callable[[], Task]


def text_prompts(plan: Plan, decoder: Decoder, source: list[Text]) -> Iterator[TextPrompt]:
    return islice(stretches(plan.context, decoder, source), plan.texts)


def stretches(context: int, decoder: Decoder, source: list[Text]) -> Iterator[TextPrompt]:
    """Of the whole context: the first of each text, then the second of each, and so on while they last; none overlaps another."""
    lasting: list[tuple[Text, list[int]]] = []
    for text in source:
        tokens = decoder.tokens(text.content) if text.recall is None else recall(decoder.tokens, text.content, context, text.recall)
        if len(tokens) >= context:
            lasting.append((text, tokens))
            yield TextPrompt(f"text {text.name}", tokens[:context], text.kind)
        elif text.kind == OWN:
            raise UserError(f"{text.name} has {len(tokens)} tokens, and {context} are needed; take a longer one or a shorter --ctx.")
    if not lasting:
        raise UserError(f"None of the texts has {context} tokens; take a shorter --ctx, or a longer one by --text.")
    for start in range(context, max(len(tokens) for _, tokens in lasting), context):
        for text, tokens in lasting:
            if len(stretch := tokens[start : start + context]) == context:
                yield TextPrompt(f"text {text.name} part {start // context + 1}", stretch, text.kind)


def task_prompts(plan: Plan, decoder: Decoder, source: list[Text]) -> Iterator[TaskPrompt]:
    writer = writer_for(decoder, source)
    together: dict[int, list[Question]] = {}
    for one in [*grid(plan), *families(plan)]:
        if plan.shared and one.puzzle:
            together.setdefault(one.length, []).append(one)
        else:
            make = alone(one.puzzle) if one.puzzle else FAMILIES[one.family]
            yield TaskPrompt(one.name, one.kind, one.length, maker(decoder, writer, make, one.length, f"{plan.seed} {one.name}"))
    for length, group in together.items():
        yield from sharing(decoder, writer, length, group, f"{plan.seed} shared {length}")
    if plan.documents:
        for number, task in enumerate(facts.given(plan.documents, writer, plan.context - RESERVE, plan.samples), 1):
            yield TaskPrompt(f"{task.family} document {number}", "document", plan.context, partial(copy, task))


@dataclass(frozen=True)
class Question:
    """One of the plan, and the puzzle behind it if that can hide in any text."""

    name: str
    kind: str
    family: str
    length: int
    puzzle: Callable[[Random], Puzzle] | None


def grid(plan: Plan) -> Iterator[Question]:
    for length in plan.needle_lengths:
        for depth in plan.needle_depths:
            for number in numbers(plan):
                puzzle = partial(needles.single, depth=depth)
                yield Question(f"needle {length} at {100 * depth:g}%{number}", "needle", "single needle", length, puzzle)


def families(plan: Plan) -> Iterator[Question]:
    for family in plan.families:
        for number in numbers(plan):
            yield Question(f"{family} {plan.context}{number}", "task", family, plan.context, PUZZLES.get(family))


def numbers(plan: Plan) -> list[str]:
    return [f" #{sample + 1}" if plan.samples > 1 else "" for sample in range(plan.samples)]


def sharing(decoder: Decoder, writer: Writer, length: int, group: list[Question], seed: str) -> Iterator[TaskPrompt]:
    """Made at once: what does not fit must not show after hours."""
    puzzles = [one.puzzle for one in group if one.puzzle]
    tasks = fitted(decoder, length, seed, lambda room, random: in_one_text(puzzles, writer, room, random))
    for one, task in zip(group, tasks, strict=True):
        yield TaskPrompt(one.name, one.kind, length, partial(copy, task))


def writer_for(decoder: Decoder, source: list[Text]) -> Writer:
    filler = sentences(source[0].content[:400_000])
    if not filler:
        raise UserError(f"{source[0].name} has no sentences to hide a needle between; take another --text.")
    return Writer(lambda text: len(decoder.tokens(text, start=False)), filler)


def maker(decoder: Decoder, writer: Writer, make: Callable[..., Task], length: int, seed: str) -> Callable[[], Task]:
    return lambda: fitted(decoder, length, seed, lambda room, random: [make(writer, room, random)])[0]


def fitted(decoder: Decoder, length: int, seed: str, make: Callable[[int, Random], list[Task]]) -> list[Task]:
    """Tasks whose prompts and answers together fit into `length` tokens, the longest nearly filling it."""
    room = length - 160
    for _ in range(8):
        made = make(room, Random(zlib.crc32(seed.encode())))
        over = max(needed(decoder, task) for task in made) - length
        if over <= 0:
            return made
        room -= over + 8
        if room < 64:
            break
    what = f"the {len(made)} questions of one text" if len(made) > 1 else f"the task '{made[0].family}'"
    raise UserError(f"{length} tokens are too few for {what}.")


def needed(decoder: Decoder, task: Task) -> int:
    whole = decoder.chat(f"{task.document}\n\n{task.question}") + task.opening
    return len(decoder.tokens(whole)) + task.answer_tokens + 1
