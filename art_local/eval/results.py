"""The results file: one JSON object, replaced as a whole after each prompt, so that an interrupted run goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from art_local import __version__, files
from art_local.errors import UsageError, UserError
from art_local.eval.record import oddity

FORMAT = 1
# what sums the results up, written beside them, and how it begins
BESIDE = {".md": b"# What early termination costs", ".svg": b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 '}
Record = dict[str, Any]
Seen = tuple[int, int] | None


class Results:
    def __init__(self, path: Path | None, head: dict[str, Any], records: Iterable[Record] = (), seen: Seen = None) -> None:
        self.path, self.head, self.records, self.seen = path, head, list(records), seen

    @classmethod
    def start(cls, path: Path | None, head: dict[str, Any], resume: bool) -> Results:
        """`head`: what was asked for; a run is only gone on with if the same is asked for again."""
        if path is None or not path.exists():
            if path:
                check_writable(path)  # better to learn now than after an hour
            return cls(path, head)
        if not resume:
            raise UserError(f"{path} is there already; go on with it by --resume, or name another file by --out.")
        found = read(path)
        if different := [name for name in head if found.head.get(name) != json.loads(json.dumps(head[name]))]:
            raise UserError(f"{path} was begun with another {' and '.join(different)}; name another file by --out.")
        return cls(path, head, found.records, found.seen)

    def has(self, prompt: str, kv: str, label: str) -> bool:
        return any((one["prompt"], one["kv"], one["setting"]["label"]) == (prompt, kv, label) for one in self.records)

    def add(self, records: list[Record]) -> None:
        new = {(one["prompt"], one["kv"], one["setting"]["label"]) for one in records}
        kept = [one for one in self.records if (one["prompt"], one["kv"], one["setting"]["label"]) not in new]
        self.records = kept + records
        self.write()

    def write(self, **more: Any) -> None:
        if self.path is None:
            return
        content = {"format": FORMAT, "made by": f"art-local eval {__version__}", **self.head, **more, "records": self.records}
        if files.fingerprint(self.path) != self.seen:
            raise UserError(f"{self.path} was changed by somebody else while this eval ran; it is left as it is.")
        put(self.path, json.dumps(content, allow_nan=False))
        self.seen = files.fingerprint(self.path)


def check_name(path: Path | None) -> None:
    if path is None:
        return
    if path.is_dir():
        raise UsageError(f"--out takes a file; {path} is a folder.")
    if path.suffix.lower() in BESIDE:
        raise UsageError(f"--out takes a JSON file, not {path.name}: the .md and the .svg are written beside it.")
    for suffix, mark in BESIDE.items():
        files.refuse_target(path.with_suffix(suffix), "--out", (), mark)


def check_writable(path: Path) -> None:
    try:
        files.check(path)
    except OSError as error:
        raise unwritable(path, error) from None


def put(path: Path, text: str) -> None:
    try:
        files.replace(path, text.encode())
    except OSError as error:
        raise unwritable(path, error) from None


def unwritable(path: Path, error: OSError) -> UserError:
    return UserError(f"The results could not be written to {path}: {error.strerror or error}.")


def read(path: Path) -> Results:
    seen = files.fingerprint(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        records, form, _ = content.pop("records"), content.pop("format"), content.pop("made by")
    except OSError as error:
        raise UserError(f"{path} could not be read: {error.strerror or error}.") from None
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        raise UserError(f"{path} is no results file of 'art-local eval'.") from None
    if form != FORMAT:
        raise UserError(f"{path} is of format {form}; this version reads format {FORMAT}.")
    if not isinstance(records, list):
        raise UserError(f"{path} is damaged: its records are no list.")
    for number, one in enumerate(records, 1):
        if odd := oddity(one):
            raise UserError(f"{path} is damaged: record {number} cannot be read, {odd}.")
    return Results(path, content, records, seen)
