"""Factors that bring the roofline to measured speeds: one on the weights' time, one on attention's for each mode and KV type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

Kind = tuple[str, str]  # mode and KV type
# how far, by experience, an assumption is off (relative), and a measurement
BASE, ATTENTION, NOISE = 0.2, 0.5, 0.002


@dataclass(frozen=True)
class Measurement:
    kind: Kind
    base: float  # seconds a token that the roofline expects of everything but attention
    attention: float
    seconds: float  # that it took


@dataclass
class Calibration:
    base: float = 1.0
    attention: dict[Kind, float] = field(default_factory=dict)


def calibrate(measured: Sequence[Measurement]) -> Calibration:
    """Least squares of relative errors, in which 1 is one more opinion on each factor: what no measurement decides stays there.

    Whatever the weights' factor is, the best one on attention follows from it linearly, so that one equation is left.
    """
    lines = {kind: attention_line([one for one in measured if one.kind == kind]) for kind in {one.kind for one in measured}}
    terms = [(NOISE / BASE, NOISE / BASE)]  # f * slope should be height
    for kind, (start, fall) in lines.items():
        terms.append((NOISE / ATTENTION * -fall, NOISE / ATTENTION * (1 - start)))
        for one in (one for one in measured if one.kind == kind):
            terms.append(((one.base - fall * one.attention) / one.seconds, 1 - start * one.attention / one.seconds))
    base = bounded(sum(slope * height for slope, height in terms) / sum(slope * slope for slope, _ in terms))
    return Calibration(base, {kind: bounded(start - fall * base) for kind, (start, fall) in lines.items()})


def attention_line(measured: Sequence[Measurement]) -> tuple[float, float]:
    """The factor on attention is start - fall * (the weights' factor)."""
    pairs = [(one.attention / one.seconds, one.base / one.seconds) for one in measured]
    weight = (NOISE / ATTENTION) ** 2
    square = sum(attention * attention for attention, _ in pairs) + weight
    return (sum(attention for attention, _ in pairs) + weight) / square, sum(attention * base for attention, base in pairs) / square


def bounded(factor: float) -> float:
    return max(0.05, factor)
