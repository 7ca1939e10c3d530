"""One run of one program: its own records, word for word, and what it needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO

from art_local.bench.card import CardUse, CardWatch

Say = Callable[[str], None]
KEPT = 400  # lines of the error stream; a verbose program writes thousands


@dataclass(frozen=True)
class Outcome:
    command: list[str]
    code: int  # negative: the signal that ended it
    records: list[str]  # JSON lines as printed
    complaints: list[str]  # the end of its error stream, without progress
    seconds: float
    host_peak: int | None  # bytes
    cards: list[CardUse] = field(default_factory=list)


def run(command: list[str], say: Say = lambda text: None, watch: CardWatch | None = None) -> Outcome:
    """Run to the end. Whatever interrupts us ends the program too; if we are killed, its next word of progress ends it (SIGPIPE)."""
    begin = time.monotonic()
    complaints: deque[str] = deque(maxlen=KEPT)
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
        env=environment(),
    )
    assert process.stdout is not None and process.stderr is not None
    listener = threading.Thread(target=listen, args=(process.stderr, complaints, say), daemon=True)
    listener.start()
    try:
        if watch:
            watch.start(process.pid)
        records = [line.strip() for line in process.stdout if is_record(line)]
        code, peak = finish(process)
    except BaseException:
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        raise
    finally:
        cards = watch.stop() if watch else []
        listener.join(timeout=5)
        process.stdout.close()
        process.stderr.close()
    return Outcome(command, code, records, list(complaints), time.monotonic() - begin, peak, cards)


def environment() -> dict[str, str]:
    """What is measured is what the command line says: the user's own settings for other programs stay out."""
    return {name: value for name, value in os.environ.items() if not name.startswith("LLAMA_ARG_") and name != "GGML_ART_DISABLE"}


def listen(stream: IO[str], complaints: deque[str], say: Say) -> None:
    for line in stream:
        text = line.strip()
        if text.startswith("llama-bench: benchmark"):
            say(text.rpartition(": ")[2])
        elif text:
            complaints.append(text)


def is_record(line: str) -> bool:
    if not line.lstrip().startswith("{"):
        return False
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def finish(process: subprocess.Popen[str]) -> tuple[int, int | None]:
    """Exit code and peak resident memory, where the system tells."""
    if not hasattr(os, "wait4"):
        return process.wait(), None
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    # Linux counts in KiB, macOS in bytes
    return process.returncode, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
