"""Line, bar and heat charts as SVG text. Colours come from CSS variables, so that one drawing serves light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from art_local.bench.series import Series
from art_local.bench.theme import assign, colour

WIDTH, HEIGHT = 560, 300
LEFT, RIGHT, TOP, BOTTOM = 56, 14, 32, 48

Scale = Callable[[float], float]


def line_chart(series: Sequence[Series], x_title: str, y_title: str, title: str) -> str:
    drawn = [one for one in series if one.points]
    if not drawn:
        return ""
    top = nice(max(point.high for one in drawn for point in one.points))
    right = max(point.x for one in drawn for point in one.points) or 1

    def x(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * value / right

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top

    parts = [*y_axis(top, y, y_title), *x_axis(sorted({point.x for one in drawn for point in one.points}), x, x_title)]
    inks = [(ink, "1 4" if one.predicted else dash) for one, (ink, dash) in zip(drawn, assign([one.mode for one in drawn]), strict=True)]
    for one, (ink, dash) in zip(drawn, inks, strict=True):
        parts += curve(one, x, y, ink, dash)
    entries = [(one.label, ink, dash) for one, (ink, dash) in zip(drawn, inks, strict=True)]
    return frame("".join(parts), title, HEIGHT) + legend(entries)


def curve(one: Series, x: Scale, y: Scale, ink: str, dash: str) -> list[str]:
    path = " ".join(f"{x(point.x):.1f},{y(point.y):.1f}" for point in one.points)
    pattern = f' stroke-dasharray="{dash}"' if dash else ""
    parts = [f'<polyline points="{path}" fill="none" stroke="var(--{ink})" stroke-width="2.2" stroke-linejoin="round"{pattern}/>']
    for point in one.points:
        told = f"{one.label} at depth {point.x:g}: {point.y:.2f} ({point.low:.2f} to {point.high:.2f})"
        if point.high > point.low:
            whisker = f'x1="{x(point.x):.1f}" x2="{x(point.x):.1f}" y1="{y(point.low):.1f}" y2="{y(point.high):.1f}"'
            parts.append(f'<line {whisker} stroke="var(--{ink})" stroke-opacity=".55"/>')
        spot = f'cx="{x(point.x):.1f}" cy="{y(point.y):.1f}" r="3.6" fill="var(--{ink})"'
        parts.append(f"<circle {spot}><title>{escape(told)}</title></circle>")
    return parts


def y_axis(top: float, y: Scale, title: str) -> list[str]:
    parts = []
    for step in range(5):
        value = top * step / 4
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:g}</text>')
    return [*parts, f'<text class="strong" x="4" y="13">{escape(title)}</text>']


def x_axis(values: list[float], x: Scale, title: str) -> list[str]:
    """A tick at each measured depth, as long as its number finds room; the deepest one and the first always do."""
    parts, taken = [], math.inf
    for value in reversed(values):
        parts.append(f'<line class="axis" x1="{x(value):.1f}" x2="{x(value):.1f}" y1="{HEIGHT - BOTTOM}" y2="{HEIGHT - BOTTOM + 5}"/>')
        if taken - x(value) >= 44 and (value == values[0] or x(value) - x(values[0]) >= 36):
            taken = x(value)
            anchor = "end" if value == values[-1] and len(values) > 1 else "middle"
            parts.append(f'<text x="{x(value):.1f}" y="{HEIGHT - BOTTOM + 19}" text-anchor="{anchor}">{value:g}</text>')
    return [*parts, f'<text class="strong" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(title)}</text>']


def bar_chart(bars: Sequence[tuple[str, str, float, str]], title: str) -> str:
    """Horizontal bars: label, mode, value, the value in words."""
    if not bars:
        return ""
    top = max(value for _, _, value, _ in bars) or 1
    left, row = 12 + 7.2 * max(len(label) for label, *_ in bars), 26
    room = WIDTH - left - 16 - 7.4 * max(len(words) for *_, words in bars)
    parts = []
    for place, (label, mode, value, words) in enumerate(bars):
        ink = colour(mode)
        y = 6 + place * row
        parts.append(f'<text class="strong" x="{left - 8:.0f}" y="{y + 14}" text-anchor="end">{escape(label)}</text>')
        parts.append(f'<rect x="{left:.0f}" y="{y}" width="{max(1.0, room * value / top):.1f}" height="18" rx="2" fill="var(--{ink})"/>')
        parts.append(f'<text x="{left + room * value / top + 8:.1f}" y="{y + 14}">{escape(words)}</text>')
    return frame("".join(parts), title, 12 + row * len(bars))


def heat_map(rows: Sequence[Sequence[float]], title: str) -> str:
    """One row a layer, one column a KV head; full colour is everything read."""
    columns, cell = max(len(row) for row in rows), 13
    left, top = 46, 22
    wide = min(64.0, (WIDTH - left - 130) / columns)
    parts = [f'<text class="strong" x="{left}" y="13">KV head</text><text class="strong" x="4" y="13">layer</text>']
    for layer, row in enumerate(rows):
        y = top + layer * cell
        if layer % 4 == 0:
            parts.append(f'<text x="{left - 6}" y="{y + 10}" text-anchor="end">{layer}</text>')
        for head, share in enumerate(row):
            shape = f'x="{left + head * wide:.1f}" y="{y}" width="{wide - 1:.1f}" height="{cell - 1}"'
            parts.append(square(shape, share, f"layer {layer}, KV head {head}: {share:.1%} read"))
    return frame("".join([*parts, *scale(left + columns * wide + 24, top)]), title, top + cell * len(rows) + 8)


def square(shape: str, share: float, told: str) -> str:
    seen = f'fill="var(--ranked)" fill-opacity="{min(1.0, max(0.0, share)):.3f}"'
    return f'<rect {shape} fill="var(--line)"/><rect {shape} {seen}><title>{told}</title></rect>'


def scale(x: float, y: float) -> list[str]:
    parts = []
    for place, share in enumerate((1.0, 0.75, 0.5, 0.25, 0.0)):
        shape = f'x="{x:.0f}" y="{y + 18 * place:.0f}" width="16" height="16"'
        parts.append(square(shape, share, ""))
        parts.append(f'<text x="{x + 22:.0f}" y="{y + 18 * place + 12:.0f}">{share:.0%} read</text>')
    return parts


def frame(content: str, title: str, height: float) -> str:
    name = escape(title, quote=True)
    return f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{name}" xmlns="http://www.w3.org/2000/svg">{content}</svg>'


def legend(entries: Sequence[tuple[str, str, str]]) -> str:
    items = "".join(f"<li>{stroke(ink, dash)}{escape(label)}</li>" for label, ink, dash in entries)
    return f'<ul class="legend">{items}</ul>'


def stroke(ink: str, dash: str) -> str:
    pattern = f' stroke-dasharray="{dash}"' if dash else ""
    line = f'<line x1="0" x2="22" y1="5" y2="5" stroke="var(--{ink})" stroke-width="4"{pattern}/>'
    return f'<svg viewBox="0 0 22 10" aria-hidden="true">{line}</svg>'


def nice(value: float) -> float:
    """The next round number whose quarters are round, too."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10) if step * power >= value * 0.999)
