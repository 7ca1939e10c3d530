"""What this machine is: system, processor, memory, graphics cards. Unknown stays None, never 0."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from art_local.quantity import number_in


@dataclass(frozen=True)
class Card:
    name: str
    memory: int | None  # bytes
    capability: str | None = None  # CUDA compute capability, "8.6"
    driver: str | None = None
    power_limit: float | None = None  # watts


@dataclass(frozen=True)
class Machine:
    system: str
    architecture: str
    processor: str
    cores: int
    memory: int | None
    cards: tuple[Card, ...] = field(default=())

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def this_machine() -> Machine:
    return Machine(
        system=f"{platform.system()} {platform.release().partition('-')[0]}",
        architecture=platform.machine(),
        processor=processor(),
        cores=usable_cores(),
        memory=memory(),
        cards=tuple(nvidia_cards() or apple_cards()),
    )


def usable_cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def processor() -> str:
    if sys.platform == "darwin":
        return sysctl("machdep.cpu.brand_string") or platform.processor()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def memory() -> int | None:
    if sys.platform == "darwin":
        size = sysctl("hw.memsize")
        return int(size) if size else None
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def sysctl(name: str) -> str | None:
    return output(["sysctl", "-n", name])


def output(command: list[str]) -> str | None:
    """What a helper program printed, None if it is missing, fails or hangs."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def nvidia_cards() -> list[Card]:
    fields = "name,memory.total,compute_cap,driver_version,power.limit"
    text = output(["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits"])
    return [card for line in (text or "").splitlines() if (card := parse_card(line))]


def parse_card(line: str) -> Card | None:
    parts = [part.strip() for part in line.split(",")]
    if len(parts) != 5 or not parts[0]:
        return None
    name, mebibytes, capability, driver, power = parts
    size = number_in(mebibytes)
    return Card(name, int(size * 2**20) if size else None, capability or None, driver or None, number_in(power))


def wired(memory: int) -> int:
    """What macOS lets the GPU take, without a limit of its own: about 2/3 of a small memory and 3/4 of a large one."""
    return memory - memory // (4 if memory > 36 << 30 else 3)


def apple_cards() -> list[Card]:
    if platform.system() != "Darwin" or platform.machine() != "arm64":
        return []
    limit = sysctl("iogpu.wired_limit_mb")
    total = memory()
    granted = int(limit) * 2**20 if limit and limit != "0" else (wired(total) if total else None)
    return [Card(sysctl("machdep.cpu.brand_string") or "Apple GPU", granted)]
