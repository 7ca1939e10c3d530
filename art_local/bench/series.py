"""Rows as lines of a picture: speed over depth, one line a mode (and file, KV type, batch where there are several)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from art_local.bench.comparison import Result
from art_local.bench.summary import Row


@dataclass(frozen=True)
class Point:
    x: float
    y: float
    low: float
    high: float


@dataclass
class Series:
    label: str
    mode: str
    predicted: bool = False
    points: list[Point] = field(default_factory=list)


def speed_over_depth(results: Sequence[Result], test: str = "tg") -> list[Series]:
    rows = [(result, row) for result in results for row in result.measured if row.key.test.startswith(test)]
    found: dict[str, Series] = {}
    for result, row in rows:
        label = name(result, row, rows)
        series = found.setdefault(label, Series(label, row.key.mode, row.predicted))
        if row.median:
            series.points.append(Point(row.key.depth, row.median, min(row.samples), max(row.samples)))
    for series in found.values():
        series.points.sort(key=lambda point: point.x)
    return list(found.values())


def name(result: Result, row: Row, rows: list[tuple[Result, Row]]) -> str:
    """Only what tells the lines apart."""
    parts = [row.key.setting]
    if len({other.key.kv for _, other in rows}) > 1:
        parts.append(row.key.kv)
    if len({other.key.batch for _, other in rows}) > 1:
        parts.append(f"x{row.key.batch}")
    if len({other.key.test for _, other in rows if not other.predicted}) > 1 and not row.predicted:
        parts.append(row.key.test)
    if len({id(one) for one, _ in rows}) > 1:
        parts.append(result.name)
    return " ".join(parts) + (" (predicted)" if row.predicted else "")
