"""How far a ratio of two medians may be trusted: Welch's t interval on the logarithms, at 95 %."""

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
    logs = [[math.log(value) for value in values] for values in (base, other)]
    means = [statistics.fmean(values) for values in logs]
    value = math.exp(means[1] - means[0])
    if min(len(base), len(other)) < 2:
        return Ratio(value)
    parts = [statistics.variance(values) / len(values) for values in logs]
    width = quantile(freedom(parts, [len(values) for values in logs])) * math.sqrt(sum(parts))
    return Ratio(value, math.exp(means[1] - means[0] - width), math.exp(means[1] - means[0] + width))


def freedom(parts: list[float], counts: list[int]) -> float:
    below = sum(part**2 / (count - 1) for part, count in zip(parts, counts, strict=True))
    return sum(parts) ** 2 / below if below else min(counts) - 1


def quantile(degrees: float) -> float:
    """Between two entries the smaller number of degrees counts: never too sure."""
    return T[max(1, min(len(T), int(degrees))) - 1]
