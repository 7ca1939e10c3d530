"""How far a ratio of two speeds may be trusted: Student's t on the logarithms, at 95 %; Welch's where nothing belongs together."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

# two-sided 95 % quantiles of Student's t, for 1 to 30 degrees of freedom
T = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131),
    *(2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)


@dataclass(frozen=True)
class Ratio:
    value: float
    low: float | None = None
    high: float | None = None

    @property
    def verdict(self) -> str:
        if self.low is None or self.high is None:
            return "one run each: not known how sure"
        if self.low <= 1 <= self.high:
            return "no difference"
        return "faster" if self.low > 1 else "slower"


def ratio(base: Sequence[float], other: Sequence[float]) -> Ratio:
    """other / base."""
    logs = logarithms(base, other)
    means = [statistics.fmean(values) for values in logs]
    value = math.exp(means[1] - means[0])
    if min(len(base), len(other)) < 2:
        return Ratio(value)
    parts = [statistics.variance(values) / len(values) for values in logs]
    width = quantile(freedom(parts, [len(values) for values in logs])) * math.sqrt(sum(parts))
    return Ratio(value, math.exp(means[1] - means[0] - width), math.exp(means[1] - means[0] + width))


def paired(base: Sequence[float], other: Sequence[float]) -> Ratio:
    """other / base of speeds that were measured side by side: what a whole round suffers cancels out."""
    apart = [theirs - mine for mine, theirs in zip(*logarithms(base, other), strict=True)]
    middle, width = statistics.fmean(apart), quantile(len(apart) - 1) * statistics.stdev(apart) / math.sqrt(len(apart))
    return Ratio(math.exp(middle), math.exp(middle - width), math.exp(middle + width))


def logarithms(*speeds: Sequence[float]) -> list[list[float]]:
    return [[math.log(value) for value in values] for values in speeds]


def freedom(parts: list[float], counts: list[int]) -> float:
    below = sum(part**2 / (count - 1) for part, count in zip(parts, counts, strict=True))
    return sum(parts) ** 2 / below if below else min(counts) - 1


def quantile(degrees: float) -> float:
    """Between two entries the smaller number of degrees counts: never too sure."""
    return T[max(1, min(len(T), int(degrees))) - 1]
