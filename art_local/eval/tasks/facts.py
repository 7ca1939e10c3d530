"""Questions on documents: many short documents of one form, one of which holds the answer. Or the user's own, as LongBench keeps them."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

from art_local.errors import UserError
from art_local.eval import words
from art_local.eval.tasks.prompt import Task, Writer


def questions(writer: Writer, tokens: int, random: Random) -> Task:
    """Made-up lives: people share names of places and trades, so that only the right document tells."""
    people = [f"{first} {last.capitalize()}" for first in words.NAMES for last in words.NOUNS]
    random.shuffle(people)
    asked, town = people[0], random.choice(words.PLACES)
    documents = [life(asked, town, random)]
    used = writer.count(documents[0]) + 8
    for person in people[1:]:
        document = life(person, random.choice(words.PLACES), random)
        used += writer.count(document) + 8
        if used > tokens:
            break
        documents.append(document)
    random.shuffle(documents)
    numbered = "\n\n".join(f"Document {place}: {document}" for place, document in enumerate(documents, 1))
    return Task(
        "questions on documents",
        "Answer the question based on the given documents.\n\n" + numbered,
        f"In which town was {asked} born, according to the documents above?",
        f"According to the documents, {asked} was born in",
        (town,),
        answer_tokens=12,
    )


def life(person: str, town: str, random: Random) -> str:
    trade, moved = random.choice(words.TRADES), random.choice(words.PLACES)
    year = random.randrange(1820, 1920)
    return (
        f"{person} was born in {town} in {year}. Trained as a {trade}, {person.split()[0]} moved to {moved} "
        f"and kept a {random.choice(words.ADJECTIVES)} {random.choice(words.NOUNS)} in the workshop for {random.randrange(5, 60)} years."
    )


def given(folder: Path, writer: Writer, tokens: int, limit: int) -> list[Task]:
    """LongBench's files: JSON lines with context, input and answers; a long context is cut in its middle, as LongBench does."""
    files = sorted(folder.glob("*.jsonl")) if folder.is_dir() else []
    if not files:
        raise UserError(f"{folder} holds no *.jsonl files in LongBench's form (context, input, answers).")
    found: list[Task] = []
    for file in files:
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines()[:limit], 1):
            try:
                entry = json.loads(line)
                context, question, answers = entry["context"], entry["input"], tuple(map(str, entry["answers"]))
            except (ValueError, KeyError, TypeError):
                raise UserError(f"{file}, line {number}, is not in LongBench's form (context, input, answers).") from None
            found.append(Task(file.stem, middle_out(writer, context, tokens), question, "Answer:", answers, any_of=True))
    return found


def middle_out(writer: Writer, text: str, tokens: int) -> str:
    total = writer.count(text)
    while total > tokens:
        kept = max(1, int(len(text) * tokens / total * 0.99) // 2)
        text = text[:kept] + text[-kept:]
        total = writer.count(text)
    return text
