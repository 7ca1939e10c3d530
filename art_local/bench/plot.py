"""Speed over depth: as text on a terminal, as a picture in a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

from art_local import files
from art_local.bench.comparison import Result
from art_local.bench.series import Series, speed_over_depth
from art_local.bench.theme import DASHES, LIGHT, assign
from art_local.errors import UsageError, UserError

MARKS = "ox+*#@%&"
MARK = "art-local compare"  # in the file: a picture without it is somebody else's
STYLES = ("-", "--", (0, (1, 2)), "-.")


def text_plot(results: Sequence[Result], width: int = 60, height: int = 12) -> list[str]:
    """Lines of plain plots, one for each KV type and batch that has more than one depth."""
    shapes = dict.fromkeys((row.key.kv, row.key.batch) for one in results for row in one.measured if row.key.test.startswith("tg"))
    return [line for kv, batch in shapes for line in one_plot(results, kv, batch, width, height)]


def one_plot(results: Sequence[Result], kv: str, batch: int, width: int, height: int) -> list[str]:
    shown = [replace(one, rows=[row for row in one.rows if (row.key.kv, row.key.batch) == (kv, batch)]) for one in results]
    series = [one for one in speed_over_depth(shown) if one.points]
    points = [point for one in series for point in one.points]
    if len({point.x for point in points}) < 2:
        return []
    right, top = max(point.x for point in points), max(point.y for point in points)
    grid = [[" "] * (width + 1) for _ in range(height + 1)]
    for mark, one in zip(MARKS * len(series), series, strict=False):
        for point in one.points:
            row, column = height - round(height * point.y / top), round(width * point.x / right)
            grid[row][column] = mark if grid[row][column] == " " else "="
    lines = [f"{axis(top, number, height):>8} |{''.join(row).rstrip()}" for number, row in enumerate(grid)]
    names = [f"{'':9} {mark} {one.label}" for mark, one in zip(MARKS * len(series), series, strict=False)]
    depths = f"{'':9}0{f'{right:g} tokens deep':>{width}}"
    shared = [f"{'':9} = several"] if any("=" in row for row in grid) else []
    title = f"tokens/s, KV {kv}" + (f", {batch} sequences" if batch > 1 else "")
    return ["", title, *lines, f"{'':9}+{'-' * width}", depths, *names, *shared]


def axis(top: float, number: int, height: int) -> str:
    return f"{top * (height - number) / height:.3g}" if number % 4 == 0 else ""


def picture(results: Sequence[Result], path: Path) -> None:
    kind = path.suffix.lower()
    if kind not in (".svg", ".png"):
        raise UsageError(f"--plot writes .svg or .png, not '{path.name}'.")
    try:
        from matplotlib import pyplot
    except ImportError:
        raise UserError("Pictures are drawn by matplotlib, which is not installed: pip install matplotlib.") from None
    pyplot.switch_backend("agg")
    kvs = list(dict.fromkeys(row.key.kv for result in results for row in result.measured))
    figure, grid = pyplot.subplots(1, len(kvs), figsize=(2 + 5 * len(kvs), 4.6), dpi=150, sharey=True, squeeze=False)
    for kv, axes in zip(kvs, grid[0], strict=True):
        panel(axes, speed_over_depth([replace(one, rows=[row for row in one.rows if row.key.kv == kv]) for one in results]))
        axes.set(title=f"KV {kv}", xlabel="tokens in the context", ylim=(0, None))
    grid[0][0].set_ylabel("tokens/s")
    figure.suptitle(" / ".join(dict.fromkeys(one.model for one in results)))
    entries = {label: handle for axes in grid[0] for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(entries.values(), entries.keys(), loc="upper center", bbox_to_anchor=(0.5, 0), ncols=4)
    drawn = BytesIO()
    told = {"svg": {"Creator": MARK, "Date": None}, "png": {"Software": MARK}}[kind[1:]]
    figure.savefig(drawn, format=kind[1:], bbox_inches="tight", metadata=told)
    try:
        files.replace(path, drawn.getvalue())
    except OSError as error:
        raise UserError(f"The picture could not be written to {path}: {error.strerror or error}.") from None
    finally:
        pyplot.close(figure)


def panel(axes: Any, series: Sequence[Series]) -> None:
    """The colours of the report: one for each mode, a line style for each file."""
    for one, (ink, dash) in zip(series, assign([one.mode for one in series]), strict=True):
        depths, speeds = [point.x for point in one.points], [point.y for point in one.points]
        spread = [[point.y - point.low for point in one.points], [point.high - point.y for point in one.points]]
        style = ":" if one.predicted else STYLES[DASHES.index(dash)]
        axes.errorbar(depths, speeds, spread, fmt="o", linestyle=style, color=LIGHT[ink], markersize=4, capsize=3, label=one.label)
    axes.grid(alpha=0.3)
