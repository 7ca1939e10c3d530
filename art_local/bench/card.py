"""What NVIDIA cards do while a program runs: memory, power, clocks, throttling, and who else is on them. Unknown is None, never 0."""

from __future__ import annotations

import os
import statistics
import threading
from dataclasses import asdict, dataclass, field
from typing import Any

INTERVAL = 0.1  # seconds between two looks
SLOWED = {0x4: "power limit", 0x8: "hardware slowdown", 0x20: "heat (software)", 0x40: "heat (hardware)", 0x80: "power brake"}


@dataclass
class CardUse:
    name: str
    total: int | None = None
    used_before: int | None = None
    used_peak: int | None = None
    process_peak: int | None = None
    power_mean: float | None = None  # watts
    power_limit: float | None = None
    clock: int | None = None  # MHz, median
    memory_clock: int | None = None
    temperature_peak: int | None = None
    slowed: dict[str, float] = field(default_factory=dict)  # reason -> share of the looks
    others: list[int] = field(default_factory=list)  # process ids that are not ours

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class CardWatch:
    """Looks at every visible card from a thread of its own. Without NVML it sees no card and says so by an empty list."""

    def __init__(self, nvml: Any = None) -> None:
        self.nvml = nvml or load_nvml()
        self.cards = [Looker(self.nvml, handle) for handle in visible(self.nvml)] if self.nvml else []
        self.over = threading.Event()
        self.thread: threading.Thread | None = None

    def start(self, process: int) -> None:
        if self.cards:
            self.thread = threading.Thread(target=self.look, args=(process,), daemon=True)
            self.thread.start()

    def look(self, process: int) -> None:
        while True:
            for card in self.cards:
                card.look(process)
            if self.over.wait(INTERVAL):
                return

    def stop(self) -> list[CardUse]:
        self.over.set()
        if self.thread:
            self.thread.join()
        return [card.result() for card in self.cards]


class Looker:
    def __init__(self, nvml: Any, handle: Any) -> None:
        self.nvml, self.handle = nvml, handle
        memory = self.ask("nvmlDeviceGetMemoryInfo")
        self.use = CardUse(
            text(self.ask("nvmlDeviceGetName")) or "NVIDIA card",
            total=memory.total if memory else None,
            used_before=memory.used if memory else None,
            power_limit=watts(self.ask("nvmlDeviceGetEnforcedPowerLimit")),
        )
        self.before = set(self.processes())
        self.strangers: set[int] = set()
        self.looks = 0
        self.power: list[float] = []
        self.clocks: list[int] = []
        self.memory_clocks: list[int] = []
        self.reasons: dict[str, int] = {}

    def ask(self, name: str, *arguments: Any) -> Any:
        """A card or a driver may refuse any single question."""
        try:
            return getattr(self.nvml, name)(self.handle, *arguments)
        except (self.nvml.NVMLError, AttributeError):
            return None

    def processes(self) -> dict[int, int | None]:
        return {one.pid: one.usedGpuMemory for one in self.ask("nvmlDeviceGetComputeRunningProcesses") or []}

    def look(self, process: int) -> None:
        self.looks += 1
        use = self.use
        if memory := self.ask("nvmlDeviceGetMemoryInfo"):
            use.used_peak = largest(use.used_peak, memory.used)
        running = self.processes()
        new = set(running) - self.before
        # inside a container the driver may know our process by another number: then it is the one that is new
        ours = process if process in running else next(iter(new)) if len(new) == 1 else None
        if ours is not None:
            use.process_peak = largest(use.process_peak, running[ours])
        self.strangers |= set(running) - {ours}
        use.temperature_peak = largest(use.temperature_peak, self.ask("nvmlDeviceGetTemperature", 0))
        note(self.power, watts(self.ask("nvmlDeviceGetPowerUsage")))
        note(self.clocks, self.ask("nvmlDeviceGetClockInfo", 1))
        note(self.memory_clocks, self.ask("nvmlDeviceGetClockInfo", 2))
        mask = self.ask("nvmlDeviceGetCurrentClocksEventReasons") or self.ask("nvmlDeviceGetCurrentClocksThrottleReasons") or 0
        for bit, reason in SLOWED.items():
            if mask & bit:
                self.reasons[reason] = self.reasons.get(reason, 0) + 1

    def result(self) -> CardUse:
        use = self.use
        use.power_mean = round(statistics.fmean(self.power), 1) if self.power else None
        use.clock = round(statistics.median(self.clocks)) if self.clocks else None
        use.memory_clock = round(statistics.median(self.memory_clocks)) if self.memory_clocks else None
        use.slowed = {reason: round(count / self.looks, 3) for reason, count in self.reasons.items()}
        use.others = sorted(self.strangers)
        return use


def load_nvml() -> Any:
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # not installed, no driver, no card: any of these means that nothing can be known
        return None
    return pynvml


def visible(nvml: Any) -> list[Any]:
    """The cards a CUDA program would use. CUDA_VISIBLE_DEVICES may name them by number or by identity."""
    try:
        chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
        if chosen is None:
            return [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
        names = [name.strip() for name in chosen.split(",") if name.strip()]
        return [nvml.nvmlDeviceGetHandleByIndex(int(name)) if name.isdigit() else nvml.nvmlDeviceGetHandleByUUID(name) for name in names]
    except nvml.NVMLError:
        return []


def largest(old: int | None, new: int | None) -> int | None:
    return max(old or 0, new) if new is not None else old


def watts(milliwatts: int | None) -> float | None:
    return milliwatts / 1000 if milliwatts is not None else None


def text(value: str | bytes | None) -> str | None:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def note(values: list[Any], value: Any) -> None:
    if value is not None:
        values.append(value)
