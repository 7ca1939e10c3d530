"""The summary as one SVG of our own drawing: loss against bytes read, needle heat maps, read share by layer and head."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from html import escape

from art_local.eval.labels import LINE, Labels
from art_local.eval.metrics import Quality
from art_local.eval.summary import Row

INK, FAINT, PAPER = "#1b1b1f", "#d8d8de", "#ffffff"
COLOURS = {"ranked": "#0b7a75", "stability": "#c8553d", "exact": "#1b1b1f", "off": "#6c6c74", "other": "#7b5ea7"}
FLOOR = 1e-6  # a loss below it is none
BAD, GOOD, LITTLE, MUCH = (0xC8, 0x55, 0x3D), (0x0B, 0x7A, 0x75), (0xF3, 0xF1, 0xE7), (0x0B, 0x7A, 0x75)


@dataclass
class Canvas:
    width: int = 900
    height: int = 0
    marks: list[str] = field(default_factory=list)

    def line(self, x1: float, y1: float, x2: float, y2: float, colour: str = FAINT, dash: str = "") -> None:
        style = f' stroke-dasharray="{dash}"' if dash else ""
        self.marks.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{style}/>')

    def text(self, x: float, y: float, words: str, size: int = 12, anchor: str = "start", colour: str = INK, bold: bool = False) -> None:
        weight = ' font-weight="bold"' if bold else ""
        self.marks.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}"{weight}>{escape(words)}</text>'
        )

    def box(self, x: float, y: float, w: float, h: float, colour: str, words: str = "") -> None:
        inside = f"<title>{escape(words)}</title>" if words else ""
        self.marks.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" fill="{colour}">{inside}</rect>')

    def dot(self, x: float, y: float, colour: str, hollow: bool, words: str) -> None:
        look = f'r="5" fill="{PAPER if hollow else colour}" stroke="{colour}" stroke-width="2"'
        self.marks.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" {look}><title>{escape(words)}</title></circle>')

    def svg(self) -> str:
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" font-family="sans-serif">'
        return "\n".join([head, f'<rect width="{self.width}" height="{self.height}" fill="{PAPER}"/>', *self.marks, "</svg>"]) + "\n"


def draw(title: str, rows: list[Row], scale: dict[str, Quality]) -> str:
    canvas = Canvas()
    canvas.text(30, 34, title, 18, bold=True)
    top = loss_against_bytes(canvas, 60, rows, scale)
    top = needle_maps(canvas, top, rows)
    top = task_maps(canvas, top, rows)
    canvas.height = heads(canvas, top, rows)
    return canvas.svg()


def loss_against_bytes(canvas: Canvas, top: int, rows: list[Row], scale: dict[str, Quality]) -> int:
    # what loses nothing has no place on a logarithm
    shown = [(row, row.byte_share, row.text.kld_mean.value) for row in rows if row.text and row.byte_share is not None]
    points = [(row, share, value) for row, share, value in shown if value > FLOOR]
    if not points:
        return top
    values = [value for _, _, value in points] + [max(FLOOR, one.kld_mean.value) for one in scale.values()]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    high = max(low + 1, high)
    left, right, height = 90, canvas.width - 220, 360
    widest = max(1.0, *(share for _, share, _ in points))

    def across(share: float) -> float:
        return left + (right - left) * share / widest

    def down(value: float) -> float:
        place = (math.log10(max(value, 10.0**low)) - low) / (high - low)
        return top + 30 + height * (1 - place)

    canvas.text(left, top + 10, "Mean KLD along texts against the share of KV bytes read", 14, bold=True)
    for power in range(low, high + 1):
        canvas.line(left, down(10.0**power), right, down(10.0**power))
        canvas.text(left - 8, down(10.0**power) + 4, f"1e{power}", anchor="end")
    for tenth in range(0, int(widest * 10) + 1, 2):
        canvas.line(across(tenth / 10), top + 30, across(tenth / 10), top + 30 + height)
        canvas.text(across(tenth / 10), top + 48 + height, f"{tenth * 10} %", anchor="middle")
    for kv, one in scale.items():
        canvas.line(left, down(one.kld_mean.value), right, down(one.kld_mean.value), COLOURS["other"], "6 4")
        canvas.text(right + 8, down(one.kld_mean.value) + 4, f"{kv} instead of f16", 11, colour=COLOURS["other"])
    labels = Labels(left, canvas.width)
    labels.keep_free((across(share), down(value)) for _, share, value in points)
    for row, share, value in points:
        x, y = across(share), down(value)
        label = f"{row.label}" + ("" if row.where == "kernel" else " (numpy)")
        place = labels.place(x, y, label)
        if abs(place.top + LINE / 2 - y) > LINE:  # which dot is it of?
            canvas.line(x, y, min(max(x, place.left), place.right), place.bottom if place.bottom < y else place.top, colour(row))
        canvas.dot(x, y, colour(row), row.where != "kernel", f"{row.kv} {label}: {share:.1%} of the bytes, mean KLD {value:.2g}")
        canvas.text(place.left, place.bottom - 2, label, 10, colour=colour(row))
    return top + height + 90


def needle_maps(canvas: Canvas, top: int, rows: list[Row]) -> int:
    told = [row for row in rows if row.needles]
    if not told:
        return top
    canvas.text(30, top, "Needles found, by depth (down) and length (across)", 14, bold=True)
    x, y, size, tallest = 60, top + 34, 26, 0
    for row in told:
        lengths = sorted({length for length, _ in row.needles})
        depths = sorted({depth for _, depth in row.needles})
        width = max(size * len(lengths), 6 * len(f"{row.kv} {row.label}"))
        if x + width > canvas.width - 30:
            x, y, tallest = 60, y + tallest + 54, 0
        canvas.text(x, y - 8, f"{row.kv} {row.label}", 11)
        for down, depth in enumerate(depths):
            canvas.text(x - 6, y + size * down + 17, f"{depth:.0%}", 10, "end")
            for across, length in enumerate(lengths):
                if (score := row.needles.get((length, depth))) is not None:
                    words = f"{length} tokens, depth {depth:.0%}: {score:.0%}"
                    canvas.box(x + size * across, y + size * down, size - 2, size - 2, blend(BAD, GOOD, score), words)
        for across, length in enumerate(lengths):
            canvas.text(x + size * across + 12, y + size * len(depths) + 12, short(length), 9, "middle")
        tallest = max(tallest, size * len(depths))
        x += width + 50
    return y + tallest + 60


def task_maps(canvas: Canvas, top: int, rows: list[Row]) -> int:
    """Families down, settings across, as many as fit side by side."""
    told = [row for row in rows if row.scores]
    if not told:
        return top
    families = list(dict.fromkeys(family for row in told for family in row.scores))
    canvas.text(30, top, "Share of the answers found, by task", 14, bold=True)
    left, wide, tall = 190, 110, 22
    fitting = (canvas.width - left - 30) // wide
    y = top + 34
    for start in range(0, len(told), fitting):
        for down, family in enumerate(families):
            canvas.text(left - 8, y + tall * down + 15, family, 11, "end")
        for across, row in enumerate(told[start : start + fitting]):
            x = left + wide * across
            canvas.text(x, y - 8, f"{row.kv} {row.label}", 10)
            for down, family in enumerate(families):
                if (score := row.scores.get(family)) is not None:
                    canvas.box(x, y + tall * down, wide - 4, tall - 2, blend(BAD, GOOD, score), f"{family}: {score:.0%}")
                    canvas.text(x + wide / 2 - 2, y + tall * down + 15, f"{score:.0%}", 11, "middle", PAPER)
        y += tall * len(families) + 40
    return y + 10


def heads(canvas: Canvas, top: int, rows: list[Row]) -> int:
    told = [row for row in rows if row.by_head and row.text and min(row.by_layer) < 1]
    if not told:
        return top
    canvas.text(30, top, "Read share by layer (across) and KV head (down): pale is little, dark is all", 14, bold=True)
    y = top + 24
    for row in told:
        size = min(24.0, (canvas.width - 300) / len(row.by_head))
        for layer, shares in enumerate(row.by_head):
            for head, share in enumerate(shares):
                words = f"layer {layer}, head {head}: {share:.0%}"
                canvas.box(30 + size * layer, y + 12 * head, size - 1, 11, blend(LITTLE, MUCH, share), words)
        canvas.text(40 + size * len(row.by_head), y + 10, f"{row.kv} {row.label}", 11)
        y += 12 * max(len(shares) for shares in row.by_head) + 14
    return y + 20


def colour(row: Row) -> str:
    return COLOURS.get(row.label.split()[0], COLOURS["other"]) if row.where == "kernel" else COLOURS["other"]


def blend(start: tuple[int, int, int], end: tuple[int, int, int], share: float) -> str:
    share = min(1.0, max(0.0, share))
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(start, end, strict=True))


def short(length: int) -> str:
    return f"{length / 1024:.3g}k" if length >= 1024 else str(length)
