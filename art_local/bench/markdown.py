"""A comparison in words that fit a table or a forum post."""

from __future__ import annotations

from art_local.bench.comparison import Pair, Result
from art_local.bench.summary import Row, number


def headings(pairs: list[Pair]) -> list[str]:
    """Columns that say the same in every row, or nothing, are left out."""
    files = ["files"] if len({pair.other_name for pair in pairs}) > 1 else []
    names = ["configuration", *files, "base t/s", "other t/s", "ratio", "95 % interval", "verdict"]
    names += ["per bandwidth"] if any(pair.per_bandwidth for pair in pairs) else []
    return names + (["per price"] if any(pair.per_price for pair in pairs) else [])


def cells(pair: Pair, pairs: list[Pair]) -> list[str]:
    values = {
        "configuration": configuration(pair),
        "files": f"{pair.other_name} / {pair.base_name}",
        "base t/s": speed(pair.base),
        "other t/s": speed(pair.other),
        "ratio": f"{pair.ratio.value:.3f}",
        "95 % interval": interval(pair),
        "verdict": pair.verdict,
        "per bandwidth": f"{pair.per_bandwidth:.2f}" if pair.per_bandwidth else "",
        "per price": f"{pair.per_price:.2f}" if pair.per_price else "",
    }
    return [values[name] for name in headings(pairs)]


def footnotes(pairs: list[Pair]) -> list[str]:
    """The ratio is seldom the quotient of the medians beside it."""
    return list(dict.fromkeys(f"ratio: {pair.method}{medians(pair)}" for pair in pairs))


def medians(pair: Pair) -> str:
    """A prediction is none."""
    if pair.base.predicted and pair.other.predicted:
        return ""
    return "; measured t/s are medians" if pair.predicted else "; t/s are medians"


def configuration(pair: Pair) -> str:
    label = pair.key.label().replace(pair.key.setting, pair.other.setting, 1)
    return label if pair.base.setting == pair.other.setting else f"{label} / {pair.base.setting}"


def speed(row: Row) -> str:
    return f"{row.median:.2f}{' (predicted)' if row.predicted else ''}"


def interval(pair: Pair) -> str:
    return f"{pair.ratio.low:.3f} to {pair.ratio.high:.3f}" if pair.ratio.low is not None else "unknown"


def post(results: list[Result], pairs: list[Pair]) -> str:
    rows = [headings(pairs), ["---"] * len(headings(pairs)), *(cells(pair, pairs) for pair in pairs)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    machines = "\n".join(f"- **{result.name}**: {machine(result)}" for result in results)
    commands = "\n".join(command for result in results for command in (f"# {result.name}", *result.commands))
    notes = "\n".join(footnotes(pairs))
    return f"{table}\n\n{notes}\n\n{machines}\n\n<details><summary>Command lines</summary>\n\n```\n{commands}\n```\n\n</details>"


def machine(result: Result) -> str:
    """What a reader needs to believe a number."""
    driver, watts = result.card("driver"), number(result.card("power_limit"))
    commit, series, preset = (result.fact("build", name) for name in ("commit", "series", "preset"))
    parts = [
        result.model,
        result.machine,
        f"driver {driver}" if driver else "",
        f"power limit {watts:.0f} W" if watts else "",
        f"llama.cpp {str(commit)[:9]}" if commit else "",
        f"series {series}" if series else "",
        f"preset {preset}" if preset else "",
        "predicted, not measured" if all(row.predicted for row in result.measured) else "",
    ]
    return ", ".join(part for part in parts if part)
