"""The results file: JSON lines, each llama-bench's own record, word for word, with one key of ours, `art_local`, added at its end.

The file is replaced as a whole at each addition: whenever we are killed, or the disk is full, what is there is complete.
Other programs' readers (llama.cpp's compare-llama-bench.py) drop the key they do not know.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from art_local import files
from art_local.bench.configuration import Configuration, is_count, is_share
from art_local.errors import UsageError, UserError

Say = Callable[[str], Any]
FORMAT = 1
KEY = "art_local"
LARGEST = 256 << 20  # bytes; a long evening writes one or two megabytes


def join(record: str | None, envelope: dict[str, Any]) -> str:
    """One line; the record's own bytes stay as they are."""
    ours = json.dumps({KEY: {"format": FORMAT, **envelope}}, allow_nan=False)
    if record is None or record.strip() == "{}":
        return ours
    return record.strip()[:-1].rstrip() + ", " + ours[1:]


@dataclass(frozen=True)
class Line:
    """A line of a results file, by key: unknown fields are carried along, missing ones are None."""

    record: dict[str, Any]
    ours: dict[str, Any]

    def get(self, *path: str) -> Any:
        value: Any = self.ours
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        return value

    def items(self, *path: str) -> list[Any]:
        """The list there, or nothing."""
        value = self.get(*path)
        return value if isinstance(value, list) else []

    @property
    def kind(self) -> str:
        """run, failure or prediction; a bare record of llama-bench is a run, too."""
        return str(self.ours.get("kind", "run"))


class Results:
    def __init__(self, path: Path, lines: Iterable[str] = ()) -> None:
        self.path = path
        self.lines = list(lines)
        self.seen = files.fingerprint(path)

    @classmethod
    def start(cls, path: Path, resume: bool, say: Say = lambda text: None) -> Results:
        if path.is_dir():
            raise UsageError(f"--out takes a file; {path} is a folder.")
        if not path.exists():
            results = cls(path)
            results.check_writable()
            return results
        if not resume:
            raise UserError(f"{path} is there already; go on with it by --resume, or name another file by --out.")
        numbered = whole_lines(path, say)
        if path.read_bytes().strip() and not any(KEY in json.loads(line) for _, line in numbered):
            raise UserError(f"{path} was not written by 'art-local bench'; it is left as it is. Name another file by --out.")
        checked(path, numbered)
        results = cls(path, [line for _, line in numbered])
        results.check_writable()
        return results

    def check_writable(self) -> None:
        """Better now than after the first run."""
        try:
            files.check(self.path)
        except OSError as error:
            raise self.unwritable(error) from None

    def add(self, lines: list[str]) -> None:
        if files.fingerprint(self.path) != self.seen:
            raise UserError(f"{self.path} was changed by somebody else while this bench ran; it is left as it is.")
        try:
            files.replace(self.path, "".join(f"{line}\n" for line in [*self.lines, *lines]).encode())
        except OSError as error:
            raise self.unwritable(error) from None
        self.lines += lines
        self.seen = files.fingerprint(self.path)

    def unwritable(self, error: OSError) -> UserError:
        kept = f" What {self.path} held before is untouched." if self.path.exists() else ""
        return UserError(f"The results could not be written to {self.path}: {error.strerror or error}.{kept}")

    def parsed(self) -> list[Line]:
        return [parse(line) for line in self.lines]


def whole_lines(path: Path, say: Say = lambda text: None) -> list[tuple[int, str]]:
    """The lines of a file with their numbers; a torn last one (another program's, a copy cut short) is left out, and it is said."""
    try:
        if path.stat().st_size > LARGEST:
            raise UserError(f"{path} is too large for a results file ({path.stat().st_size >> 20} MiB).")
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise UserError(f"{path} could not be read: {error.strerror or error}.") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not a results file: it is no text.") from None
    lines = list(enumerate(text.split("\n"), 1))
    number, last = lines.pop()  # empty when the file ends as it should
    if last.strip() and is_object(last):
        lines.append((number, last))
    elif last.strip():
        say(f"notice: {path}, line {number} is cut short and left out.")
    kept = [(number, line) for number, line in lines if line.strip()]
    for number, line in kept:
        if not is_object(line):
            raise UserError(f"{path} is not a results file: line {number} is no JSON object.")
    return kept


def is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def parse(line: str) -> Line:
    record = json.loads(line)
    if "\\ud" in line.lower():  # half a character cannot be printed
        record = json.loads(json.dumps(record, ensure_ascii=False).encode(errors="replace"))
    ours = record.pop(KEY, None)
    return Line(record, ours if isinstance(ours, dict) else {})


def read(path: Path, say: Say = lambda text: None) -> list[Line]:
    if not path.exists():
        raise UserError(f"There is no file {path}.")
    if path.is_dir():
        raise UserError(f"{path} is a folder, not a results file.")
    lines = checked(path, whole_lines(path, say))
    if not lines:
        raise UsageError(f"{path} holds no results.")
    return lines


def checked(path: Path, numbered: list[tuple[int, str]]) -> list[Line]:
    """Each line as it is counted with, or a sentence that names the one that cannot be."""
    lines, seen = [], dict[str, int]()
    for number, text in numbered:
        line = parse(text)
        if odd := oddity(line):
            raise UserError(f"{path}, line {number} cannot be read: {odd}.")
        first = seen.setdefault(identity(line), number)
        if first != number:
            raise UserError(f"{path}, line {number} repeats line {first}: a run counts once.")
        lines.append(line)
    return lines


def oddity(line: Line) -> str:
    """What is missing or unknown may be another version's; what is there must be of its kind, or a number would be made up for it."""
    configuration, record = line.get("configuration"), line.record
    if line.get("format") not in (None, FORMAT):
        return f"its format is {shown(line.get('format'))}, this version reads {FORMAT}"
    counts = {name: record.get(name) for name in ("n_depth", "n_gen", "n_prompt")} | {"round": line.get("round")}
    if isinstance(configuration, dict):
        counts |= {name: configuration.get(name) for name in ("depth", "generate", "prompt", "reps", "batch")}
        for name in ("mode", "kv"):
            if not isinstance(configuration.get(name, ""), str):
                return f"its {name} is {shown(configuration[name])}, not a name"
        for name in ("eps", "force"):
            if (value := configuration.get(name)) is not None and not is_share(value):
                return f"its {name} is {shown(value)}, not a number from 0"
        layers = configuration.get("layer_eps", [])
        if not isinstance(layers, list) or not all(map(is_share, layers)):
            return f"its layer_eps is {shown(layers)}, not a list of numbers from 0"
    elif configuration is not None:
        return f"its configuration is {shown(configuration)}, not an object"
    for name, value in counts.items():
        if value is not None and not is_count(value):
            return f"its {name} is {shown(value)}, not a whole number"
    for name in ("avg_ts", "speed_tg"):
        if (speed := record.get(name)) is not None and not is_speed(speed):
            return f"its {name} is {shown(speed)}, not a number"
    samples = record.get("samples_ts")
    if samples is not None and not (isinstance(samples, list) and all(map(is_speed, samples))):
        return f"its samples_ts is {shown(samples)}, not a list of numbers"
    return ""


def is_speed(value: Any) -> bool:
    """A repetition too short for the clock has 0."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e300  # no NaN either


def shown(value: Any) -> str:
    return json.dumps(value)[:60]


def identity(line: Line) -> str:
    """What no other line of a file is: a run of a round; of somebody else's records, or failures, every word."""
    fields = line.get("configuration")
    if line.kind == "run" and isinstance(fields, dict) and is_count(line.get("round")):
        return repr((line.get("round"), Configuration.from_dict(fields), line.record.get("n_prompt"), line.record.get("n_gen")))
    return json.dumps([line.record, line.ours])
