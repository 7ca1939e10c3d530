"""What cards do during a run, over a stand-in for NVML: unknown stays unknown, and strangers are seen."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from bench_stand_in import facts

from art_local.bench.card import CardWatch, Looker, visible
from art_local.bench.configuration import Configuration
from art_local.bench.rounds import memory, warnings
from art_local.bench.runner import Outcome


class NVMLError(Exception):
    pass


class Nvml:
    """One card with a stranger on it; what is in `refused` raises as a driver does."""

    NVMLError = NVMLError

    def __init__(self, refused: tuple[str, ...] = (), ours: int = 42, size: int | None = 5 << 30) -> None:
        self.refused, self.ours, self.size, self.started = refused, ours, size, False

    def __getattr__(self, name: str) -> Any:
        answers: dict[str, Any] = {
            "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=24 << 30, used=(7 if self.started else 2) << 30),
            "nvmlDeviceGetName": b"NVIDIA GeForce RTX 3090",
            "nvmlDeviceGetEnforcedPowerLimit": 350_000,
            "nvmlDeviceGetPowerUsage": 300_000,
            "nvmlDeviceGetTemperature": 71,
            "nvmlDeviceGetClockInfo": 1695,
            "nvmlDeviceGetCurrentClocksEventReasons": 0x4 | 0x1,
            "nvmlDeviceGetCount": 1,
            "nvmlDeviceGetHandleByIndex": "card",
            "nvmlDeviceGetHandleByUUID": "card",
        }
        running = [SimpleNamespace(pid=7, usedGpuMemory=1 << 30)]
        running += [SimpleNamespace(pid=self.ours, usedGpuMemory=self.size)] if self.started else []
        answers["nvmlDeviceGetComputeRunningProcesses"] = running

        def answer(*arguments: Any) -> Any:
            if name in self.refused:
                raise NVMLError(name)
            return answers[name]

        if name not in answers:
            raise AttributeError(name)
        return answer


def looked(nvml: Nvml, process: int = 42) -> Any:
    looker = Looker(nvml, "card")
    nvml.started = True
    for _ in range(3):
        looker.look(process)
    return looker.result()


def test_what_the_card_says_is_kept() -> None:
    use = looked(Nvml())
    assert (use.name, use.total, use.used_before, use.used_peak) == ("NVIDIA GeForce RTX 3090", 24 << 30, 2 << 30, 7 << 30)
    assert use.process_peak == 5 << 30 and use.others == [7]
    assert (use.power_mean, use.power_limit, use.clock, use.temperature_peak) == (300.0, 350.0, 1695, 71)
    assert use.slowed == {"power limit": 1.0}, "an idle reason is none"


def test_inside_a_container_our_process_has_another_number() -> None:
    use = looked(Nvml(ours=99_001), process=42)
    assert use.process_peak == 5 << 30 and use.others == [7]


@pytest.mark.parametrize(
    "refused", ["nvmlDeviceGetMemoryInfo", "nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetPowerUsage", "nvmlDeviceGetClockInfo"]
)
def test_a_question_that_is_refused_is_unknown_and_the_others_are_not(refused: str) -> None:
    use = looked(Nvml(refused=(refused,))).as_dict()
    unknown = {name for name, value in use.items() if value is None}
    assert (
        unknown
        == {
            "nvmlDeviceGetMemoryInfo": {"total", "used_before", "used_peak"},
            "nvmlDeviceGetComputeRunningProcesses": {"process_peak"},
            "nvmlDeviceGetPowerUsage": {"power_mean"},
            "nvmlDeviceGetClockInfo": {"clock", "memory_clock"},
        }[refused]
    )


def test_memory_of_a_process_that_the_driver_does_not_tell_is_unknown_not_nothing() -> None:
    use = looked(Nvml(size=None))
    assert use.process_peak is None
    outcome = Outcome([], 0, [], [], 1.0, 1 << 30, [use])
    assert memory(outcome) == {"host": 1 << 30, "device": 7 << 30, "process": None}


def test_without_a_card_nothing_is_said() -> None:
    watch = CardWatch(Nvml(refused=("nvmlDeviceGetCount",)))
    watch.start(1)
    assert watch.stop() == []


def test_the_thread_looks_while_the_program_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    watch = CardWatch(Nvml())
    watch.start(42)
    (use,) = watch.stop()
    assert use.used_peak and watch.thread and not watch.thread.is_alive()


@pytest.mark.parametrize(("setting", "count"), [("0", 1), ("GPU-1234", 1), ("", 0), ("0,GPU-5", 2)])
def test_the_cards_that_cuda_may_see(monkeypatch: pytest.MonkeyPatch, setting: str, count: int) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", setting)
    assert len(visible(Nvml())) == count


def test_a_slow_card_and_strangers_are_a_warning() -> None:

    told = warnings([looked(Nvml())], Configuration(), facts())
    assert told == [
        "1 other processes were on the NVIDIA GeForce RTX 3090",
        "NVIDIA GeForce RTX 3090 slowed down: power limit in 100% of the time",
    ]
