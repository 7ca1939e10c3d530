"""Expected decoding speed by depth: bytes over bandwidth, with an efficiency for each kernel, stated, and calibrated where measured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from art_local.model.attention import Layer
from art_local.plan.cards import Card
from art_local.plan.memory import Model, Setting, summary_bytes
from art_local.plan.placement import Placement

MODES = ("stock", "exact", "ranked")
# stock on a quantized cache: one block a query head, bound by arithmetic: K and V elements a second for each f32 flop/s (H200)
VEC_RATE = 0.032
VEC_BYTES = 0.70
# our kernels: microseconds a layer beyond a stock launch's (some 8, part of the layer's), share of the bandwidth (prototype on an H200)
EXACT_US, EXACT = 2, {"q8_0": 0.90, "q4_0": 0.67, "f16": 0.90}
RANKED_US, RANKED = 13, 0.62
READ_SHARE, READ_FLOOR = 0.25, 1168  # tiles read at eps's default on real text; tokens that are always read


@dataclass
class Calibration:
    """Factors on predicted times, from measurements on this card: of everything else, and of attention."""

    base: float = 1.0
    attention: float = 1.0
    points: int = 0


@dataclass
class Speeds:
    """Seconds a token, by mode and depth, and what they rest on."""

    seconds: dict[str, dict[int, float]] = field(default_factory=dict)
    assumptions: list[str] = field(default_factory=list)


def read_share(depth: int) -> float:
    return min(1.0, max(READ_SHARE, READ_FLOOR / max(depth, 1)))


def attention_seconds(layer: Layer, card: Card, mode: str, depth: int, kv_type: str) -> float:
    cells = max(min(depth, layer.window) if layer.window else depth, 1)
    if not layer.kv_heads:
        return 0.0
    size = layer.bytes_per_cell(kv_type, kv_type) * cells
    if mode == "stock" or not layer.art or card.name == "processor":
        if kv_type == "f16" or card.name == "processor":
            return size / (card.bandwidth * card.family.f16_kv)
        arithmetic = cells * layer.heads * (layer.k_size + (layer.v_size or layer.k_size)) / (VEC_RATE * card.tflops * 1e12)
        return max(arithmetic, size / (card.bandwidth * VEC_BYTES))
    if mode == "exact":
        return EXACT_US * 1e-6 + size / (card.bandwidth * EXACT[kv_type])
    records = summary_bytes(layer, Setting(cells, kv_type, ranked=True))
    ranked = RANKED_US * 1e-6 + (size * read_share(cells) + records) / (card.bandwidth * RANKED)
    return min(ranked, attention_seconds(layer, card, "exact", depth, kv_type))  # short contexts stay exact


def parts(model: Model, card: Card, host: Card, placement: Placement, mode: str, depth: int, kv_type: str) -> tuple[float, float]:
    """Seconds a token: everything but attention, and attention."""
    on_card = max(placement.ngl - 1, 0)
    first = len(model.layer_bytes) - on_card
    used = min(model.layers[-1].index + 1, len(model.layer_bytes))
    base = 0.0
    for index, size in enumerate(model.layer_bytes[:used]):
        where = card if index >= first else host
        base += size * model.expert_share / (where.bandwidth * where.family.weights) + where.family.layer_us * 1e-6
    where = card if placement.ngl else host
    base += model.output_bytes / (where.bandwidth * where.family.weights)
    attention = sum(attention_seconds(layer, card if layer.index >= first else host, mode, depth, kv_type) for layer in model.layers)
    return base, attention


def predict(
    model: Model,
    card: Card,
    host: Card,
    placement: Placement,
    kv_type: str,
    depths: Iterable[int],
    calibrations: dict[str, Calibration] | None = None,
) -> Speeds:
    speeds = Speeds(assumptions=assumptions(model, card, host, placement, kv_type))
    for mode in MODES:
        factors = (calibrations or {}).get(mode, Calibration())
        speeds.seconds[mode] = {}
        for depth in depths:
            base, attention = parts(model, card, host, placement, mode, depth, kv_type)
            speeds.seconds[mode][depth] = base * factors.base + attention * factors.attention
        if factors.points:
            speeds.assumptions.append(f"{mode}: calibrated on {factors.points} measured speeds of this card.")
    return speeds


def calibrate(points: list[tuple[float, float, float]]) -> Calibration:
    """Factors from (base, attention, measured seconds): one common factor from one depth, least squares from several."""
    if not points:
        return Calibration()
    common = sum(p[2] for p in points) / sum(p[0] + p[1] for p in points)
    depths = {round(attention / base, 3) for base, attention, _ in points}
    if len(depths) == 1:
        return Calibration(common, common, len(points))
    # relative errors, so that a slow point does not outweigh the others
    rows = [(base / t, attention / t) for base, attention, t in points]
    bb, aa, ab = sum(b * b for b, _ in rows), sum(a * a for _, a in rows), sum(a * b for b, a in rows)
    b, a = sum(b for b, _ in rows), sum(a for _, a in rows)
    determinant = bb * aa - ab * ab
    if determinant <= 1e-9 * bb * aa:
        return Calibration(common, common, len(points))
    base, attention = (b * aa - a * ab) / determinant, (a * bb - b * ab) / determinant
    return Calibration(base, attention, len(points)) if base > 0 and attention > 0 else Calibration(common, common, len(points))


def assumptions(model: Model, card: Card, host: Card, placement: Placement, kv_type: str) -> list[str]:
    family = card.family
    said = [
        f"weights at {family.weights:.0%} of {card.bandwidth / 1e9:.0f} GB/s and {family.layer_us:.0f} us a layer ({family.basis}).",
        f"stock attention: f16 at {family.f16_kv:.0%} of the bandwidth; quantized by arithmetic, {VEC_RATE:.3f} elements a flop (H200).",
        f"exact: {EXACT[kv_type]:.0%} of the bandwidth and {EXACT_US} us a layer; ranked: {RANKED:.0%} and {RANKED_US} us (prototype).",
        f"ranked reads {READ_SHARE:.0%} of the tiles, at least {READ_FLOOR} tokens, and all summaries; the text decides.",
    ]
    if not placement.fits:
        memory = f"{host.family.weights:.0%} of {host.bandwidth / 1e9:.0f} GB/s (--ram-bandwidth)"
        said.append(f"layers off the card run on the processor, at {memory}.")
    if model.expert_share < 1:
        said.append(f"experts: a token reads {model.expert_share:.0%} of the layers' bytes.")
    return said
