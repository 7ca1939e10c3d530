"""How long the rest will take."""

from __future__ import annotations

from art_local.bench.configuration import Configuration


class Clock:
    """The time left, from what has been timed: the same configuration, else by tokens to work through."""

    def __init__(self) -> None:
        self.seconds: dict[Configuration, list[float]] = {}

    def note(self, configuration: Configuration, seconds: float) -> None:
        self.seconds.setdefault(configuration, []).append(seconds)

    def left(self, waiting: list[Configuration]) -> float | None:
        if not self.seconds:
            return None
        spent = sum(sum(times) for times in self.seconds.values())
        work = sum(weight(one) * len(times) for one, times in self.seconds.items())
        return sum(self.expected(one, spent / work) for one in waiting)

    def expected(self, configuration: Configuration, rate: float) -> float:
        times = self.seconds.get(configuration)
        return sum(times) / len(times) if times else rate * weight(configuration)


def weight(configuration: Configuration) -> float:
    """A generated token takes as long as some 20 of a prompt; loading as long as some 2000."""
    one = configuration
    return 2000 + one.batch * (one.depth + one.reps * (20 * one.generate + one.prompt))
