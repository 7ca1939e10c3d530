"""Plan against the truth: memory as our build says it allocates it when it loads the model, speed as a bench measured it."""

from __future__ import annotations

import re
import statistics
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from art_local.bench.results import Line
from art_local.building.machine import output
from art_local.errors import UserError
from art_local.model.header import Header
from art_local.plan.calibration import calibrate
from art_local.plan.cards import Card
from art_local.plan.measured import Machine, speed
from art_local.plan.memory import Setting, describe
from art_local.plan.placement import Placement, place

MIB = 1 << 20
BUFFER = re.compile(r"\s(\w+) +(model|KV|RS|summary|compute|output) buffer size = +([\d.]+) MiB")
PARTS = {"model": "weights", "KV": "kv", "RS": "state", "summary": "summaries", "compute": "compute", "output": "compute"}


@dataclass(frozen=True)
class Memory:
    """Bytes by part; of the layers and buffers that are not on the card only their weights and cache."""

    parts: dict[str, float]
    process: float | None = None  # growth of the card's memory in use, all told: what else there is, as well

    @property
    def total(self) -> float:
        return sum(self.parts.values())


def planned(found: Placement, on_card: bool) -> Memory:
    parts = {"weights": found.weights, "kv": found.kv, "state": found.state, "summaries": found.summaries, "compute": found.compute}
    if on_card:
        parts["host weights"], parts["host kv"] = found.host_weights, found.host_kv
    return Memory({name: float(size) for name, size in parts.items()}, found.used - found.scratch)


def allocated(log: Iterable[str], on_card: bool) -> Memory:
    """A part of several buffers is their sum; compute buffers may be reserved twice, the last ones stay.

    Weights repacked for a processor replace pages of the file, which stay mapped: they count once.
    """
    sizes: dict[tuple[str, str], float] = {}
    for line in log:
        if (match := BUFFER.search(line)) and match[1] != "CPU_REPACK":
            device, kind, size = match[1], match[2], float(match[3]) * MIB
            sizes[device, kind] = size + (0 if kind in ("compute", "output") else sizes.get((device, kind), 0))
    parts = dict.fromkeys(PARTS.values(), 0.0) | ({"host weights": 0.0, "host kv": 0.0} if on_card else {})
    for (device, kind), size in sizes.items():
        name = PARTS[kind]
        if on_card and (device.startswith("CPU") or device.endswith("_Host")):
            name = f"host {'kv' if name == 'state' else name}"
        if name in parts:
            parts[name] += size
    return Memory(parts)


def load(program: Path, model: Path, setting: Setting, ngl: int, on_card: bool, fill: bool = False) -> Memory:
    """A real context of that size in llama-batched-bench, which decodes a few tokens, or a whole prompt, and ends."""
    prompt = setting.context - 2 if fill else 8
    command = [str(program), "-m", str(model), "-c", str(setting.context), "-ctk", setting.kv_type, "-ctv", setting.kv_type, "-fa", "on"]
    command += ["-ngl", str(ngl), "-fit", "off", "-npp", str(prompt), "-ntg", "1", "-npl", "1", "-ub", str(setting.ubatch), "-v"]
    command += ["--art", "ranked" if setting.ranked else "off"]
    before, peak, over = used(), 0.0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not over.wait(0.1):
            peak = max(peak, used() or 0)

    watching = threading.Thread(target=watch, daemon=True)
    if before is not None:
        watching.start()
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)
    over.set()
    log = (done.stdout + done.stderr).splitlines()
    if done.returncode:
        said = [line for line in log if "error" in line.lower() or "failed" in line.lower()] or log[-1:]
        raise UserError(f"{program.name} did not load {model.name} at context {setting.context}: {said[0] if said else 'it said nothing'}")
    return Memory(allocated(log, on_card).parts, peak - before if before is not None and peak else None)


def used() -> float | None:
    """All that is in use on the cards of this machine, whoever uses it."""
    lines = (output(["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]) or "").split()
    return sum(float(line) for line in lines) * MIB if lines and all(line.isdigit() for line in lines) else None


def memory_rows(
    header: Header, model: Path, program: Path, card: Card, count: int, settings: Iterable[Setting], fill: bool = False
) -> Iterator[dict[str, object]]:
    """One row for each part of each setting."""
    found, on_card = describe(header), not card.is_processor
    for setting in settings:
        placement = place(found, card, count, setting)
        expected, begin = planned(placement, on_card), time.monotonic()
        truth = load(program, model, setting, placement.ngl if on_card else 0, on_card, fill)
        pairs = [(name, size, truth.parts[name]) for name, size in expected.parts.items()]
        pairs.append(("all of these", expected.total, truth.total))
        if truth.process is not None and on_card:
            pairs.append(("whole process", expected.process or 0.0, truth.process))
        for name, plan, real in pairs:
            if plan or real:
                yield {
                    "context": setting.context, "kv": setting.kv_type, "part": name, "plan": plan / MIB, "build": real / MIB,
                    "error": plan / real - 1 if real else None, "seconds": round(time.monotonic() - begin, 1),
                }  # fmt: skip


def speed_rows(lines: Sequence[Line], planned: Machine) -> Iterator[dict[str, object]]:
    """For each mode and KV type: each depth in turn calibrates, and the others are held against it."""
    speeds = [one for line in lines if not planned.misfit(line) and (one := speed(line))]
    for kind in dict.fromkeys((one.kv, one.mode) for one in speeds):
        own = [one for one in speeds if (one.kv, one.mode) == kind]
        for known in sorted({one.depth for one in own}):
            by = calibrate([planned.measurement(one) for one in own if one.depth == known])
            for depth in sorted({one.depth for one in own} - {known}):
                seconds = [(planned.expected(one, by), one.seconds) for one in own if one.depth == depth]
                guess, real = (1 / statistics.median(column) for column in zip(*seconds, strict=True))
                row = {"kv": kind[0], "mode": kind[1], "calibrated at": known, "depth": depth}
                yield {**row, "plan": guess, "measured": real, "error": guess / real - 1}
