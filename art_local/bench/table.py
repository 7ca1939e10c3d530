"""The table of a bench on a terminal, and what must be said under it."""

from __future__ import annotations

from collections.abc import Callable

from art_local.bench.summary import Row


def table(rows: list[Row]) -> tuple[list[str], list[list[str]]]:
    """Headings and cells; a column that has nothing to say is left out, and so is what was skipped: it is named below the table."""
    columns = {name: cell for name, cell in COLUMNS.items() if name in ALWAYS or any(cell(row, rows) for row in rows)}
    return list(columns), [[cell(row, rows) for cell in columns.values()] for row in rows if row.failure != "skipped"]


def speed(row: Row, rows: list[Row]) -> str:
    if row.median is None:
        return row.failure or "unknown"
    spread = f" ±{row.spread:.1%}" if row.spread is not None else ""
    return f"{row.median:.2f}{spread}{' (predicted)' if row.predicted else ''}"


def ratio(row: Row, rows: list[Row]) -> str:
    """Against the baseline of the same shape."""
    if row.key.mode == "off" or row.median is None:
        return ""
    base = baseline(row, rows)
    return f"{row.median / base.median:.2f}x" if base and base.median else ""


def baseline(row: Row, rows: list[Row]) -> Row | None:
    return next((other for other in rows if other.key == row.key.baseline), None)


def milliseconds(value: float | None) -> str:
    return f"{value:.2f}" if value is not None else ""


def attention(row: Row, rows: list[Row]) -> str:
    """A difference of two noisy times: what is not above nothing is no number."""
    if not row.key.depth or row.attention_ms is None:
        return ""
    return f"{row.attention_ms:.2f}" if row.attention_ms > 0 else "~0"


def memory(size: int | None) -> str:
    return f"{size / 2**20:,.0f}" if size is not None else ""


def percent(value: float | None) -> str:
    return f"{value:.1%}" if value is not None else ""


ALWAYS = ("test", "mode", "kv", "depth", "tokens/s")
COLUMNS: dict[str, Callable[[Row, list[Row]], str]] = {
    "test": lambda row, rows: row.key.test,
    "mode": lambda row, rows: row.setting,
    "kv": lambda row, rows: row.key.kv,
    "depth": lambda row, rows: str(row.key.depth),
    "batch": lambda row, rows: str(row.key.batch) if any(other.key.batch > 1 for other in rows) else "",
    "tokens/s": speed,
    "vs off": ratio,
    "weights ms": lambda row, rows: milliseconds(row.weights_ms),
    "attention ms": attention,
    "KV GB/s": lambda row, rows: f"{row.kv_rate / 1e9:.{1 if row.kv_rate > 1e11 else 2}f}" if row.kv_rate else "",
    "of bandwidth": lambda row, rows: percent(row.bandwidth_share),
    "read share": lambda row, rows: percent(row.read_share),
    "byte share": lambda row, rows: percent(row.byte_share),
    "host MiB": lambda row, rows: memory(row.host),
    "VRAM MiB": lambda row, rows: memory(row.process if row.process is not None else row.device),
    "watts": lambda row, rows: f"{row.power:.0f}" if row.power else "",
}


def footnotes(rows: list[Row]) -> list[str]:
    notes = [f"{row.key.label()}: {row.failure}: {row.sentence}" for row in rows if row.failure and row.failure != "skipped"]
    skipped = [row.key.label() for row in rows if row.failure == "skipped"]
    if skipped:
        notes.append(f"skipped after those: {', '.join(skipped)}")
    if any(row.read_share is not None for row in rows):
        notes.append("read share: llama-bench decodes random tokens, whose attention is flatter than a text's; a real text reads less.")
    if any((row.spread or 0) > 0.1 for row in rows):
        notes.append("warning: repetitions differ by more than 10 % either way: something else uses this machine, or its clocks move.")
    notes += [f"warning: {text}" for text in dict.fromkeys(text for row in rows for text in row.warnings)]
    return notes
