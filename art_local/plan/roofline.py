"""Expected decoding speed by depth: bytes over bandwidth, with an efficiency for each kernel, stated, and calibrated where measured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from math import log

from art_local.model.attention import Layer
from art_local.plan.calibration import Calibration
from art_local.plan.cards import Card
from art_local.plan.memory import Model, Setting, summary_bytes
from art_local.plan.placement import Placement

MODES = ("off", "exact", "ranked")  # off: upstream's kernels, here called stock
# stock on a quantized cache: one block a query head, bound by arithmetic: K and V elements a second for each f32 flop/s (H200)
VEC_RATE = 0.032
VEC_BYTES = 0.70
# our kernels on an H200: microseconds a layer beyond a stock launch's (some 8, part of the layer's), shares of the bandwidth
EXACT_US, EXACT_BYTES, EXACT_RATE = 2, 0.90, {"q8_0": 0.172, "q4_0": 0.219, "f16": 0.172}
UPKEEP_US, RANKED_US, RANKED, RECORDS = 3, 17, 0.52, 0.31
# tiles read at the default, by depth: SmolLM2-135M, Qwen 0.5B (docs/results/quality.md); nothing deeper was measured
READ_SHARES = {7168: 0.34, 28672: 0.23}
# as the CUDA patch has it, found on one H200: fewer cells stay with upstream's kernels, and tiles are ordered once reading all
# of a layer takes so many microseconds at the card's full bandwidth
GPU_MIN_CELLS, ORDERING_US = {"f16": 24576, "q8_0": 2048, "q4_0": 2048}, 20
# one core of an AMD EPYC: K and V elements a second of the stock kernel, bytes a second of ours
CORE_STOCK = {"f16": 6.5e9, "q8_0": 4.7e9, "q4_0": 2.3e9}
# there ranked reads everything below a number of cells, and ranking costs this share of reading all (SmolLM2-135M, 4k and 7k)
CPU_MIN_CELLS, CPU_RANKING = 4096, 0.36
CORE_EXACT = {"f16": 3.1e9, "q8_0": 2.2e9, "q4_0": 1.05e9}


def modes(card: Card, model: Model) -> tuple[str, ...]:
    return MODES if card.family.art and model.skipping else MODES[:1]


@dataclass
class Speeds:
    """Seconds a token, by mode and depth, and what they rest on."""

    seconds: dict[str, dict[int, float]] = field(default_factory=dict)
    assumptions: list[str] = field(default_factory=list)


def read_share(depth: int) -> float:
    """Between two measured depths on the line over log(depth); before the first as many tokens as there, after the last its share."""
    depths = list(READ_SHARES)
    if depth <= depths[0]:
        return min(1.0, READ_SHARES[depths[0]] * depths[0] / max(depth, 1))
    for near, far in pairwise(depths):
        if depth <= far:
            way = log(depth / near) / log(far / near)
            return READ_SHARES[near] + way * (READ_SHARES[far] - READ_SHARES[near])
    return READ_SHARES[depths[-1]]


def attention_seconds(layer: Layer, card: Card, mode: str, depth: int, kv_type: str, share: float | None = None) -> float:
    if not layer.kv_heads:
        return 0.0
    upkeep = UPKEEP_US * 1e-6 if mode == "ranked" and layer.art and not card.is_processor else 0.0
    return upkeep + reading_seconds(layer, card, mode, depth, kv_type, share)


def reading_seconds(layer: Layer, card: Card, mode: str, depth: int, kv_type: str, share: float | None) -> float:
    """`share` of the tiles, where it was measured; without it a short context is read as a whole, as the programs do."""
    cells = max(min(depth, layer.window) if layer.window else depth, 1)
    size = layer.bytes_per_cell(kv_type, kv_type) * cells
    elements = cells * layer.heads * (layer.k_size + (layer.v_size or layer.k_size))
    if mode == "off" or not layer.art or (not card.is_processor and cells < GPU_MIN_CELLS[kv_type]):
        return stock_seconds(card, kv_type, size, elements)
    if card.is_processor:
        exact = max(size / (card.cores * CORE_EXACT[kv_type]), size / card.bandwidth)
    else:
        arithmetic = elements / (EXACT_RATE[kv_type] * card.tflops * 1e12)
        exact = EXACT_US * 1e-6 + max(arithmetic, size / (card.bandwidth * EXACT_BYTES))
    if mode == "exact" or (share >= 1 if share is not None else reads_all(card, cells, size)):
        return exact
    part = read_share(cells) if share is None else share
    records = summary_bytes(layer, Setting(cells, kv_type, ranked=True))
    if card.is_processor:
        return (part + CPU_RANKING) * exact
    return RANKED_US * 1e-6 + size * part / (card.bandwidth * RANKED) + records / (card.bandwidth * RECORDS)


def reads_all(card: Card, cells: int, size: int) -> bool:
    """Where ranking would cost more than it saves, mode ranked runs the kernel of exact."""
    return cells < CPU_MIN_CELLS if card.is_processor else size < ORDERING_US * 1e-6 * card.bandwidth


def pays_from(model: Model, card: Card, kv_type: str) -> int:
    """Tokens from which the first layer skips."""
    if card.is_processor:
        return CPU_MIN_CELLS
    largest = max(layer.bytes_per_cell(kv_type, kv_type) for layer in model.skipping)
    return max(GPU_MIN_CELLS[kv_type], round(ORDERING_US * 1e-6 * card.bandwidth / largest))


def stock_seconds(card: Card, kv_type: str, size: int, elements: int) -> float:
    if card.is_processor:
        return max(elements / (card.cores * CORE_STOCK[kv_type]), size / card.bandwidth)
    if kv_type == "f16":
        return size / (card.bandwidth * card.family.f16_kv)
    return max(elements / (VEC_RATE * card.tflops * 1e12), size / (card.bandwidth * VEC_BYTES))


def parts(
    model: Model, card: Card, host: Card, placement: Placement, mode: str, depth: int, kv_type: str, share: float | None = None
) -> tuple[float, float]:
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
    places = [(layer, card if layer.index >= first else host) for layer in model.layers]
    return base, sum(attention_seconds(layer, place, mode, depth, kv_type, share) for layer, place in places)


def predict(
    model: Model,
    card: Card,
    host: Card,
    placement: Placement,
    kv_type: str,
    depths: Iterable[int],
    calibration: Calibration | None = None,
) -> Speeds:
    factors = calibration or Calibration()
    speeds = Speeds(assumptions=assumptions(model, card, host, placement, kv_type))
    for mode in modes(card, model):
        speeds.seconds[mode] = {}
        for depth in depths:
            base, attention = parts(model, card, host, placement, mode, depth, kv_type)
            speeds.seconds[mode][depth] = base * factors.base + attention * factors.attention.get((mode, kv_type), 1.0)
    return speeds


def assumptions(model: Model, card: Card, host: Card, placement: Placement, kv_type: str) -> list[str]:
    family = card.family
    said = [f"weights at {family.weights:.0%} of {card.bandwidth / 1e9:.0f} GB/s and {family.layer_us:.0f} us a layer ({family.basis})."]
    told = f"f16 at {family.f16_kv:.0%} of the bandwidth" if kv_type == "f16" else f"arithmetic, {VEC_RATE:.3f} elements a flop (H200)"
    if card.is_processor:
        off, exact = CORE_STOCK[kv_type] / 1e9, CORE_EXACT[kv_type] / 1e9
        said.append(f"attention on {card.cores} cores: off {off:g} billion elements, exact {exact:g} GB a second and core (AMD EPYC).")
    elif not family.art or not model.skipping:
        why = f"do not run on {family.name} GPUs yet" if not family.art else "do not apply to this model"
        said.append(f"attention, off: {told}; exact and ranked {why}.")
    else:
        ours = f"{EXACT_BYTES:.0%} of the bandwidth or {EXACT_RATE[kv_type]:.3f} elements a flop, {EXACT_US} us a layer"
        said.append(f"attention, off: {told}; exact: {ours} (H200).")
        said.append(
            f"ranked: tiles at {RANKED:.0%} of the bandwidth, summaries at {RECORDS:.0%}, {RANKED_US + UPKEEP_US} us a layer (H200)."
        )
    if model.why_not:
        said.append(f"no early termination: {model.why_not}.")
    elif family.art:
        basis = "measured on an AMD EPYC" if card.is_processor else f"{ORDERING_US} us a layer, measured on an H200"
        shares = ", ".join(f"{share:.0%} at {depth}" for depth, share in READ_SHARES.items())
        beyond = f"these shares of the tiles: {shares}, and all summaries; the text decides"
        said.append(f"ranked reads everything up to about {pays_from(model, card, kv_type)} tokens ({basis}), beyond {beyond}.")
    if not placement.fits and not card.is_processor:
        memory = f"{host.family.weights:.0%} of {host.bandwidth / 1e9:.0f} GB/s (--ram-bandwidth)"
        said.append(f"layers off the card run on a processor of {host.cores} cores, at {memory}.")
    if model.expert_share < 1:
        said.append(f"experts: a token reads {model.expert_share:.0%} of the layers' bytes.")
    return said
