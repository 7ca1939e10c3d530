"""What the records come to: a row for each setting, and the same as Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from art_local.eval.metrics import Comparison, Estimate, Quality, quality
from art_local.eval.results import Record

Cell = tuple[int, float]  # needle: length, depth


@dataclass(frozen=True)
class Row:
    kv: str
    label: str
    where: str
    read_share: float | None
    byte_share: float | None
    text: Quality | None  # along texts
    asked: Quality | None  # questions and answers, while these agree with the baseline's
    diverged: list[int | None] = field(default_factory=list)  # along texts, greedy
    greedy: int = 0
    scores: dict[str, float] = field(default_factory=dict)  # by family
    needles: dict[Cell, float] = field(default_factory=dict)
    by_head: list[list[float]] = field(default_factory=list)  # read share
    fallbacks: int = 0  # attention ops that ran on the stock kernels although the mode was set

    @property
    def by_layer(self) -> list[float]:
        return [float(np.mean(layer)) for layer in self.by_head]


def rows(records: Iterable[Record]) -> list[Row]:
    """In the order in which the settings ran."""
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for record in records:
        if record["kind"] != "scale":
            setting = record["setting"]
            groups.setdefault((record["kv"], setting["label"], setting["where"]), []).append(record)
    return [row(*key, group) for key, group in groups.items()]


def row(kv: str, label: str, where: str, group: list[Record]) -> Row:
    along = [record for record in group if record["kind"] == "text"]
    asked = [record for record in group if record["kind"] != "text"]
    shares = along or asked
    heads = [record["by_head"] for record in shares if record.get("by_head")]
    return Row(
        kv,
        label,
        where,
        mean(record.get("read_share") for record in shares),
        mean(record.get("byte_share") for record in shares),
        combined(along),
        combined(asked),
        [record["diverged"] for record in along],
        max((record["greedy"] for record in along), default=0),
        by_key((record["family"], record["score"]) for record in asked if record["kind"] != "needle"),
        by_key(((record["length"], record["depth"]), record["score"]) for record in asked if record["kind"] == "needle"),
        np.mean(heads, axis=0).tolist() if heads else [],
        sum(record.get("fallbacks", 0) for record in group),
    )


def combined(group: list[Record]) -> Quality | None:
    whole = Comparison()
    for record in group:
        whole.extend(Comparison(**record["comparison"]))
    return quality(whole) if len(whole) else None


def by_key(pairs: Iterable[tuple[Any, float]]) -> dict[Any, float]:
    found: dict[Any, list[float]] = {}
    for key, score in pairs:
        found.setdefault(key, []).append(score)
    return {key: float(np.mean(scores)) for key, scores in found.items()}


def mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def scales(records: Iterable[Record]) -> dict[str, Quality]:
    """What the type of the cache costs by itself: exact on it against exact on f16."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        if record["kind"] == "scale":
            groups.setdefault(record["kv"], []).append(record)
    return {kv: found for kv, group in groups.items() if (found := combined(group))}


def markdown(head: dict[str, Any], records: list[Record], command: str, pictures: list[str]) -> str:
    found = rows(records)
    parts = [
        title(head, command, measured_texts(records)),
        scale_table(scales(records)),
        text_table(found),
        task_table(found),
        needle_tables(found),
    ]
    parts += [f"![{name}]({name})" for name in pictures]
    parts += [fallen_back(found), layers(found)]
    return "\n\n".join(part for part in parts if part) + "\n"


def measured_texts(records: list[Record]) -> int:
    """A short file gives fewer than were asked for; so does a run that was interrupted."""
    return len({record["prompt"] for record in records if record["kind"] == "text"})


def title(head: dict[str, Any], command: str, texts: int) -> str:
    model, plan = head["model"], head["plan"]
    return "\n".join(
        [
            f"# What early termination costs on {model['name']}",
            "",
            f"- model: `{model['name']}`, sha256 `{model['sha256']}`",
            f"- context {plan['context']} tokens, the last {plan['positions']} of {texts} text(s) decoded token by token;"
            f" seed {plan['seed']}; text: {head['source']}",
            f"- build: {head['build']}; series {head.get('series') or 'unknown'}, commit {head['commit'][:12]} of the patched tree",
            f"- command: `{command}`",
            "",
            "Each figure is against the baseline of its own row group (`exact` on the same cache), the interval is 95 %.",
            "Rows marked *numpy reference* are no kernels: other people's methods, rebuilt for comparison.",
        ]
    )


def scale_table(found: dict[str, Quality]) -> str:
    if not found:
        return ""
    lines = ["## The scale: what the cache type itself costs (`exact` against `exact` on f16)", "", TEXT_HEAD, TEXT_RULE]
    lines += [f"| {kv} | exact | - | - | {figures(one)} | - |" for kv, one in found.items()]
    return "\n".join(lines)


TEXT_HEAD = (
    "| KV | setting | read share | byte share | mean KLD | 99 % KLD | max KLD | same top-1 | perplexity ratio | first greedy difference |"
)
TEXT_RULE = "|---|---|---|---|---|---|---|---|---|---|"


def text_table(found: list[Row]) -> str:
    lines = [
        f"| {one.kv} | {named(one)} | {percent(one.read_share)} | {percent(one.byte_share)} | {figures(one.text)} | {divergence(one)} |"
        for one in found
        if one.text
    ]
    return "\n".join(["## Along texts", "", TEXT_HEAD, TEXT_RULE, *lines]) if lines else ""


def task_table(found: list[Row]) -> str:
    families = list(dict.fromkeys(family for one in found for family in one.scores))
    asked = [one for one in found if one.asked]
    if not asked:
        return ""
    lines = ["## Questions: needles and tasks (share of the answers found; KLD while the answers agree)", ""]
    lines += [
        "| KV | setting | mean KLD | 99 % KLD | max KLD | same top-1 | needle grid |" + "".join(f" {family} |" for family in families)
    ]
    lines += ["|" + "---|" * (7 + len(families))]
    for one in asked:
        assert one.asked
        quality_cells = f"{kld(one.asked.kld_mean)} | {kld(one.asked.kld_p99)} | {one.asked.kld_max:.4f} | {one.asked.same_top.value:.1%}"
        needle = percent(mean(one.needles.values()))
        scores = "".join(f" {percent(one.scores.get(family))} |" for family in families)
        lines.append(f"| {one.kv} | {named(one)} | {quality_cells} | {needle} |{scores}")
    return "\n".join(lines)


def needle_tables(found: list[Row]) -> str:
    parts = []
    for one in found:
        if one.needles:
            lengths = sorted({length for length, _ in one.needles})
            depths = sorted({depth for _, depth in one.needles})
            lines = [f"### Needles, {one.kv} {one.label}", "", "| depth | " + " | ".join(f"{length} tokens" for length in lengths) + " |"]
            lines += ["|" + "---|" * (1 + len(lengths))]
            for depth in depths:
                cells = " | ".join(percent(one.needles.get((length, depth))) for length in lengths)
                lines.append(f"| {depth:.0%} | {cells} |")
            parts.append("\n".join(lines))
    return "\n\n".join(parts)


def fallen_back(found: list[Row]) -> str:
    """A mode that did not run must not pass for one that costs nothing."""
    told = [f"- {one.kv} {one.label}: {one.fallbacks} attention ops ran on the stock kernels." for one in found if one.fallbacks]
    return "\n".join(["## Not what was asked for", "", *told]) if told else ""


def layers(found: list[Row]) -> str:
    told = [one for one in found if one.by_head and min(one.by_layer) < 1]
    lines = [f"- {one.kv} {one.label}: " + " ".join(f"{share:.0%}" for share in one.by_layer) for one in told]
    return "\n".join(["## Read share by layer", "", *lines]) if lines else ""


def figures(one: Quality | None) -> str:
    assert one
    low, high = one.same_top.low, one.same_top.high
    return (
        f"{kld(one.kld_mean)} | {kld(one.kld_p99)} | {one.kld_max:.4f} | {one.same_top.value:.1%} ({low:.1%} to {high:.1%}) | "
        f"{one.perplexity_ratio.value:.4f} ({one.perplexity_ratio.low:.4f} to {one.perplexity_ratio.high:.4f})"
    )


def kld(one: Estimate) -> str:
    return f"{one.value:.5f} ({one.low:.5f} to {one.high:.5f})"


def named(one: Row) -> str:
    return one.label + (f" (*{one.where}*)" if one.where != "kernel" else "")


def percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def divergence(one: Row) -> str:
    if not one.greedy:
        return "-"
    return ", ".join(f"none in {one.greedy}" if at is None else f"token {at + 1}" for at in one.diverged)
