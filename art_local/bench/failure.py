"""Why a run gave nothing: out of memory, refused by the build, or something else, and the sentence that says it."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass

OUT_OF_MEMORY = re.compile(
    r"out of (?:device )?memory|(?:failed|unable) to allocate|cannot allocate memory|bad_alloc|insufficient memory"
    r"|not enough (?:space|memory)|no memory for|alloc\w* of size .* failed",
    re.I,
)
# what the series says; the word alone is in the path of every model in our cache
REFUSED = re.compile(r"\bart: |\bart mode '|--art\b|early termination", re.I)
USAGE = re.compile(r"invalid (?:parameter for )?argument|error while handling argument|invalid range format", re.I)
VAGUE = re.compile(r"failed to (?:create context|load model|run|decode)|unable to load model|failed to create the", re.I)
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Failure:
    kind: str  # "out of memory", "usage", "refused", "failed", "skipped"
    sentence: str


def explain(code: int, complaints: list[str]) -> Failure:
    lines = [COLOUR.sub("", line) for line in complaints]
    if found := first(OUT_OF_MEMORY, lines):
        return Failure("out of memory", found)
    if code in (-9, 137):
        return Failure("out of memory", "it was killed (signal 9), as a system does that runs out of memory")
    if code > 0 and (found := first(USAGE, lines)):
        return Failure("usage", "; ".join(line.removeprefix("error: ") for line in lines[: lines.index(found) + 1][-2:]))
    if found := first(REFUSED, [line for line in lines if "error" in line.lower() or line is lines[-1]]):
        return Failure("refused", found)
    errors = [line for line in lines if "error" in line.lower() or "invalid" in line.lower()]
    said = (errors or lines or ["it said nothing"])[-1]
    if code < 0:
        return Failure("failed", f"it crashed ({name(-code)}): {said}")
    return Failure("failed", said if code else f"it ended well but printed no complete result: {said}")


def is_vague(failure: Failure) -> bool:
    """llama-bench keeps the library silent: the reason must be asked for once more, aloud."""
    return failure.kind == "failed" and (bool(VAGUE.search(failure.sentence)) or "it crashed" in failure.sentence)


def first(pattern: re.Pattern[str], lines: list[str]) -> str | None:
    return next((line for line in lines if pattern.search(line)), None)


def name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
