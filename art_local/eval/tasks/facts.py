"""Questions on documents: many short documents of one form, one of which holds the answer. Or the user's own, as LongBench keeps them."""

from __future__ import annotations

import json
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Document:
    family: str
    context: str
    question: str
    answers: tuple[str, ...]


def documents(folder: Path, limit: int) -> list[Document]:
    """LongBench's files, the first `limit` entries of each: JSON lines with context, input and answers."""
    files = sorted(folder.glob("*.jsonl")) if folder.is_dir() else []
    if not files:
        raise UserError(f"{folder} holds no *.jsonl files in LongBench's form (context, input, answers).")
    found: list[Document] = []
    for file in files:
        try:
            # only a newline ends a line: JSON may hold the other separators of Unicode as they are
            lines = enumerate(file.read_text(encoding="utf-8-sig", errors="replace").split("\n"), 1)
        except OSError as error:
            raise UserError(f"{file} could not be read: {error.strerror or error}.") from None
        filled = [(number, line) for number, line in lines if line.strip()]
        found += [document(file, number, line) for number, line in filled[:limit]]
    if not found:
        raise UserError(f"{folder} holds nothing but empty files.")
    return found


def document(file: Path, number: int, line: str) -> Document:
    try:
        entry = json.loads(line)
        context, question, answers = entry["context"], entry["input"], entry["answers"]
        if not (isinstance(context, str) and isinstance(question, str) and isinstance(answers, list) and answers):
            raise TypeError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UserError(f"{file}, line {number}, is not in LongBench's form (context, input: texts; answers: a list of them).") from None
    return Document(file.stem, whole(context), whole(question), tuple(map(str, answers)))


def whole(text: str) -> str:
    """JSON can name half a character; no tokenizer takes one."""
    return text.encode("utf-8", "replace").decode()


def given(folder: Path, writer: Writer, tokens: int, limit: int) -> list[Task]:
    """In so many tokens with its question; a long context is cut in its middle, as LongBench does."""
    tasks = []
    for one in documents(folder, limit):
        asked = writer.count(one.question)
        if asked > tokens // 2:
            raise UserError(
                f"A question in {one.family}.jsonl has {asked} tokens, more than half of what --ctx leaves for it and its document."
            )
        text = middle_out(writer, one.context, tokens - asked)
        tasks.append(Task(one.family, text, one.question, "Answer:", one.answers, any_of=True))
    return tasks


def middle_out(writer: Writer, text: str, tokens: int) -> str:
    total = writer.count(text)
    while total > tokens:
        kept = max(1, int(len(text) * tokens / total * 0.99) // 2)
        text = text[:kept] + text[-kept:]
        total = writer.count(text)
    return text
