"""One HTML page out of results: no network, no script, light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from html import escape

from art_local.bench.chart import bar_chart, heat_map, line_chart
from art_local.bench.comparison import Result
from art_local.bench.markdown import machine
from art_local.bench.series import Point, Series, speed_over_depth
from art_local.bench.summary import Row
from art_local.bench.table import footnotes, table
from art_local.bench.tested import HEADINGS, Tested
from art_local.bench.tested import cells as tested_cells
from art_local.bench.theme import THEME
from art_local.quantity import size

STYLE = """
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:1120px;margin:0 auto;padding:24px 16px 64px}h1{font-size:1.6rem;line-height:1.2;margin:0 0 4px;overflow-wrap:anywhere}
h2{font-size:1.15rem;margin:40px 0 8px}h3{font-size:1rem;margin:20px 0 4px}p{margin:4px 0;color:var(--soft)}p,li{overflow-wrap:anywhere}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(240px,1fr));gap:12px;margin:20px 0}
.card{background:var(--panel);border:1px solid var(--line);border-radius:8px;padding:12px 14px}
.card b{display:block;font-size:1.7rem;line-height:1.2}
.card span{color:var(--soft);font-size:.875rem}.wide{overflow-x:auto}.wide svg{display:block;width:100%;
min-width:440px;max-width:560px;height:auto}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,460px),1fr));gap:8px 32px}.pair>section{min-width:0}
.legend{display:flex;flex-wrap:wrap;gap:4px 18px;list-style:none;margin:4px 0 0;padding:0;font-size:.875rem}
.legend svg{width:22px;height:10px;margin-right:6px;min-width:0;display:inline}
table{border-collapse:collapse;font-size:.875rem;font-variant-numeric:tabular-nums}
th,td{padding:4px 10px;text-align:right;white-space:nowrap}
th{color:var(--soft);font-weight:600;border-bottom:1px solid var(--line)}td{border-bottom:1px solid var(--line)}
th.l,td.l{text-align:left}details{margin-top:12px}summary{cursor:pointer}pre{overflow-x:auto;background:var(--panel);padding:12px;border-radius:8px;
font-size:.8rem}.note{background:var(--panel);border-left:3px solid var(--stability);padding:8px 12px;margin:8px 0;color:var(--ink)}
@media print{.wide{overflow:visible}}
"""

MARK = '<meta name="generator" content="art-local report">'  # a page without it is somebody else's
DEPTH = "tokens in the context"


def page(results: Sequence[Result], tested: Sequence[Tested] = ()) -> str:
    """Of speed, quality, or both."""
    title = f"{'Decoding speed' if results else 'Quality'} of {', '.join(dict.fromkeys(one.model for one in results or tested))}"
    parts = [heading(title, results, tested), *cards(results), speed(results), time(results), memory(results), quality(tested)]
    parts += [reading(results, tested), prefill(results), numbers(results), commands(results)]
    head = f'<meta charset="utf-8">{MARK}<meta name="viewport" content="width=device-width,initial-scale=1"><title>{escape(title)}</title>'
    body = "\n".join(part for part in parts if part)
    return f'<!doctype html>\n<html lang="en"><head>{head}<style>{THEME}{STYLE}</style></head><body><main>\n{body}\n</main></body></html>\n'


def heading(title: str, results: Sequence[Result], tested: Sequence[Tested]) -> str:
    lines = [f"<h1>{escape(title)}</h1>"]
    lines += [f"<p>{escape(result.name)}: {escape(machine(result))}{escape(when(result))}</p>" for result in results]
    lines += [f"<p>{escape(one.name)}: quality of {escape(one.model)}, {escape(one.context)} tokens</p>" for one in tested]
    if any(row.predicted for result in results for row in result.measured):
        lines.append(
            '<p class="note">Some numbers here are predictions of a model, not measurements. They are drawn dotted and marked.</p>'
        )
    return "\n".join(lines)


def when(result: Result) -> str:
    started = result.fact("started")
    return f", {str(started)[:16].replace('T', ' ')} UTC" if started else ""


def cards(results: Sequence[Result]) -> list[str]:
    """What a reader wants to know first: the best mode at the deepest context, for each KV type."""
    found = []
    for result in results:
        for kv in kinds([result]):
            if best := best_mode(result, kv):
                times, row, base = best
                words = f"{row.setting}, KV {kv}, at {row.key.depth:,} tokens: {row.median:.1f} tokens/s against {base.median:.1f}"
                words = f"predicted, not measured: {words}" if row.predicted or base.predicted else words
                found.append((f"{times:.2f}x", ", ".join([words, *told(result, results)])))
    inside = "".join(f'<div class="card"><b>{number}</b><span>{escape(words)}</span></div>' for number, words in found)
    return [f'<div class="cards">{inside}</div>'] if inside else []


def best_mode(result: Result, kv: str) -> tuple[float, Row, Row] | None:
    rows = {row.key: row for row in result.measured if row.key.test.startswith("tg") and (row.key.batch, row.key.kv) == (1, kv)}
    deepest = max((key.depth for key in rows), default=0)
    pairs = [(row, rows.get(key.baseline)) for key, row in rows.items() if key.depth == deepest and key.mode != "off"]
    found = [(row.median / base.median, row, base) for row, base in pairs if base and base.median and row.median]
    return max(found, key=lambda one: one[0], default=None)


def speed(results: Sequence[Result]) -> str:
    measured = any(not row.predicted for result in results for row in result.measured)
    words = (
        "Median of all runs; a whisker reaches from the slowest to the fastest repetition." if measured else "Predicted; nothing was run."
    )
    drawn = [(f"KV {kv}", line_chart(speed_over_depth(only(results, kv)), DEPTH, "tokens/s", f"speed, KV {kv}")) for kv in kinds(results)]
    return section("Speed over depth", words, drawn)


def prefill(results: Sequence[Result]) -> str:
    words = "Modes are made for decoding. Here they cost the upkeep of summaries; on a CPU they also read a quantized cache faster."
    charts = [(kv, speed_over_depth(only(results, kv), "pp")) for kv in kinds(results)]
    drawn = [(f"KV {kv}", line_chart(series, DEPTH, "tokens/s", f"reading a prompt, KV {kv}")) for kv, series in charts]
    return section("Reading a prompt", words, drawn)


def section(title: str, words: str, drawn: Sequence[tuple[str, str]]) -> str:
    """Charts side by side where there is room."""
    inside = "".join(f"<section><h3>{escape(name)}</h3>{wide(chart)}</section>" for name, chart in drawn if chart)
    return f'<h2>{title}</h2>\n<p>{words}</p>\n<div class="pair">{inside}</div>' if inside else ""


def kinds(results: Sequence[Result]) -> list[str]:
    return list(dict.fromkeys(row.key.kv for result in results for row in result.measured))


def only(results: Sequence[Result], kv: str) -> list[Result]:
    return [replace(result, rows=[row for row in result.rows if row.key.kv == kv]) for result in results]


def time(results: Sequence[Result]) -> str:
    """Attention's part of a token's time, which is what the modes change."""
    charts = [(kv, attention(speed_over_depth(only(results, kv)))) for kv in kinds(results)]
    drawn = [(f"KV {kv}", line_chart(series, DEPTH, "ms per token", f"time in attention, KV {kv}")) for kv, series in charts]
    return section("Time in attention", "The time of a token beyond what it takes on an empty context.", drawn)


def attention(series: Sequence[Series]) -> list[Series]:
    made = []
    for one in series:
        empty = next((point.y for point in one.points if point.x == 0), None)
        if empty is None or len(one.points) < 2:
            continue
        made.append(replace(one, points=[slower(point, empty) for point in one.points]))
    return made


def slower(point: Point, empty: float) -> Point:
    def beyond(speed: float) -> float:
        return max(0.0, 1000 / speed - 1000 / empty)

    return Point(point.x, beyond(point.y), beyond(point.high), beyond(point.low))


def memory(results: Sequence[Result]) -> str:
    """Peaks at the deepest context of each mode and KV type."""
    bars = []
    for result in results:
        rows = [row for row in result.measured if row.memory is not None and row.key.test.startswith("tg")]
        for row in rows:
            same = [other for other in rows if (other.key.setting, other.key.kv) == (row.key.setting, row.key.kv)]
            if row is max(same, key=lambda other: (other.key.depth * other.key.batch, other.key.depth)):
                name = " ".join([row.setting, row.key.kv, *told(result, results)])
                bars.append((name, row.key.mode, float(row.memory or 0), f"{size(row.memory)}, {where(row)}"))
    drawn = bar_chart(bars, "peak memory")
    return f"<h2>Memory</h2>\n<p>Highest use at the deepest context.</p>\n{wide(drawn)}" if drawn else ""


def told(one: Result | Tested, among: Sequence[Result] | Sequence[Tested]) -> list[str]:
    return [one.name] if len(among) > 1 else []


def where(row: Row) -> str:
    return "GPU" if row.process is not None else "GPU, all programs" if row.device is not None else "main memory"


def reading(results: Sequence[Result], tested: Sequence[Tested]) -> str:
    """What share of the cache the kernels read: over depth, and by layer and head where it is known."""
    drawn = [("over depth, random tokens", line_chart(share_over_depth(results), DEPTH, "% of the tiles", "read share over depth"))]
    maps = [(" ".join([row.key.label(), *told(one, results)]), row.layers or []) for one in results for row in deepest_heat(one)]
    maps += [(", ".join([f"{row.label} {row.kv}", *told(one, tested), "on text"]), row.by_head) for one in tested for row in one.skipping]
    drawn += [(label, heat_map(heads, f"read share by layer and head, {label}")) for label, heads in maps]
    words = "Tiles read, of those a full pass would read." + (" llama-bench decodes random tokens; a real text reads less." * bool(results))
    return section("Read share", words, drawn)


def deepest_heat(result: Result) -> list[Row]:
    """Of each mode the deepest context that tells its layers."""
    rows = [row for row in result.measured if row.layers and row.key.test.startswith("tg")]
    deepest = {replace(row.key, depth=0): row for row in sorted(rows, key=lambda row: row.key.depth)}
    return list(deepest.values())


def share_over_depth(results: Sequence[Result]) -> list[Series]:
    found: dict[str, Series] = {}
    for result in results:
        for row in result.measured:
            if row.read_share is not None and row.key.batch == 1 and row.key.test.startswith("tg"):
                label = " ".join([row.key.setting, row.key.kv, *told(result, results)])
                share = 100 * row.read_share
                found.setdefault(label, Series(label, row.key.mode)).points.append(Point(row.key.depth, share, share, share))
    for one in found.values():
        one.points.sort(key=lambda point: point.x)
    return list(found.values())


def quality(tested: Sequence[Tested]) -> str:
    """Against exact attention on the same KV type, as 'art-local eval' measured it."""
    parts = ["<h2>Quality</h2>", "<p>Against exact attention on the same KV type.</p>"] if tested else []
    for one in tested:
        parts += [f"<h3>{escape(name)}</h3>" for name in told(one, tested)]
        columns = zip(HEADINGS, *map(tested_cells, one.rows), strict=True)
        parts.append(grid([list(line) for line in zip(*(column for column in columns if any(column[1:])), strict=True)], 3))
    return "\n".join(parts)


def numbers(results: Sequence[Result]) -> str:
    parts = ["<h2>All numbers</h2>"] if results else []
    for result in results:
        parts += [f"<h3>{escape(name)}</h3>" for name in told(result, results)]
        headings, cells = table(result.rows)
        parts.append(grid([headings, *cells], 3))
        parts += [f'<p class="note">{escape(text)}</p>' for text in footnotes(result.rows)]
    return "\n".join(parts)


def grid(rows: list[list[str]], left: int) -> str:
    def line(cells: list[str], tag: str) -> str:
        inside = "".join(f"<{tag}{' class=l' if place < left else ''}>{escape(cell)}</{tag}>" for place, cell in enumerate(cells))
        return f"<tr>{inside}</tr>"

    body = "".join(line(row, "td") for row in rows[1:])
    return f'<div class="wide"><table><thead>{line(rows[0], "th")}</thead><tbody>{body}</tbody></table></div>'


def commands(results: Sequence[Result]) -> str:
    lines = [line for result in results for line in (f"# {result.name}", *result.commands)]
    if len(lines) == len(results):
        return ""
    return f"<details><summary>Command lines</summary><pre>{escape(chr(10).join(lines))}</pre></details>"


def wide(content: str) -> str:
    """A chart keeps a readable size; on a narrow screen it scrolls by itself."""
    drawing, closing, rest = content.partition("</svg>")
    return f'<div class="wide">{drawing}{closing}</div>{rest}' if content else ""
