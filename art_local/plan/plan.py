"""The whole answer: fit, placement, memory, speed, and what else would help."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from art_local.errors import UsageError
from art_local.model.attention import KV_TYPES
from art_local.model.header import Header
from art_local.plan import measured
from art_local.plan.cards import GIB, SYSTEM, Card
from art_local.plan.memory import Model, Setting, describe
from art_local.plan.placement import Placement, largest_context, place
from art_local.plan.roofline import Speeds, predict

# bits a weight of whole files, about (the 70B and 72B shapes); a small model's are up to a tenth larger
MIXES = {"Q8_0": 8.5, "Q6_K": 6.6, "Q5_K_M": 5.7, "Q4_K_M": 4.8, "Q4_K_S": 4.6, "IQ4_XS": 4.35, "Q3_K_M": 3.9}
FLOOR, BELOW = "Q3_K_M", "a smaller model in Q4 is the better choice"
MAX_CARDS = 16


@dataclass(frozen=True)
class Alternative:
    what: str
    fits: bool
    context: int  # the largest that leaves every layer on the cards
    tokens_per_second: float | None  # None: memory cannot hold it
    note: str = ""


@dataclass
class Plan:
    model: Model
    card: Card
    count: int
    setting: Setting
    placement: Placement
    largest: int
    speeds: Speeds
    alternatives: list[Alternative] = field(default_factory=list)
    fitted: dict[str, dict[str, int]] | None = None
    warnings: list[str] = field(default_factory=list)


def make(header: Header, card: Card, count: int, setting: Setting, host: Card, results: list[Path]) -> Plan:
    if not 1 <= count <= MAX_CARDS:
        raise UsageError(f"--gpus takes 1 to {MAX_CARDS}.")
    if count > 1 and card.unified:
        raise UsageError(f"--gpus is about cards; the GPU of {card.name} is one.")
    if setting.kv_type not in KV_TYPES:
        raise UsageError(f"--kv takes {', '.join(KV_TYPES)}.")
    if not 1 <= setting.context <= 1 << 24:
        raise UsageError("--ctx takes 1 to 16777216.")
    model, setting = describe(header), replace(setting, ranked=setting.ranked and card.family.art)
    # prediction is for the mode that needs most: ranked, with its summaries
    placement = place(model, card, count, setting)
    plan = Plan(model, card, count, setting, placement, largest_context(model, card, count, setting), Speeds())
    planned = measured.Machine(model, card, count, host, placement)
    known = measured.evidence(results, planned, setting.kv_type)
    if 0 < model.context < setting.context:
        plan.warnings.append(f"The model was trained for {model.context} tokens: beyond them the speed is true, the text is not.")
    if large := too_large(placement, card, host):
        plan.warnings.append(large)
    else:
        plan.speeds = predict(model, card, host, placement, setting.kv_type, depths(setting.context), known.calibration(planned))
    plan.speeds.assumptions += known.said
    if not placement.fits:
        plan.alternatives = alternatives(plan, host)
    return plan


def too_large(placement: Placement, card: Card, host: Card) -> str:
    """Weights that memory cannot hold are read from the disk for every token: no number is honest then."""
    if card.is_processor:
        need, room = placement.used + placement.host_bytes, card.memory
    elif card.unified:  # the rest of the one memory, less what the system needs
        need, room = placement.used + placement.host_bytes - card.reserve, card.memory - SYSTEM
    else:
        need, room = placement.host_bytes, host.usable
    if need <= room or (card.unified and placement.fits):
        return ""
    return (
        f"It takes {need / GIB:.1f} GiB of main memory, there are {max(room, 0) / GIB:.1f}: it would run from the disk, at no useful speed."
    )


def depths(context: int) -> list[int]:
    """Nothing, then doublings up to the limit."""
    found = [0]
    step = 4096
    while step < context:
        found.append(step)
        step *= 2
    return [*found, context]


def alternatives(plan: Plan, host: Card) -> list[Alternative]:
    model, card, setting = plan.model, plan.card, plan.setting
    found = []
    if not card.unified:
        for count in range(plan.count + 1, plan.count + 4):
            more = consider(f"{count} x {card.name}", model, card, count, setting, host)
            found.append(more)
            if more.fits:
                break
    if model.expert_bytes and not card.unified:
        found.append(experts_apart(model, card, plan.count, setting, host))
    if setting.kv_type != "q4_0":
        smaller = replace(setting, kv_type="q4_0")
        found.append(consider("KV q4_0", model, card, plan.count, smaller, host, "costs quality; measure it"))
    return [*found, *smaller_mix(plan, host)]


def smaller_mix(plan: Plan, host: Card) -> list[Alternative]:
    """The largest quantization that fits, down to the smallest worth having."""
    model = plan.model
    bits = 8 * model.header.weight_bytes / max(model.header.parameters, 1)
    smaller = [name for name, mix in MIXES.items() if mix < 0.97 * bits]
    for name in smaller:
        size = model.header.weight_bytes * MIXES[name] / bits
        note = f"about {size / 1e9:.0f} GB" + (f", the smallest worth having: below it {BELOW}" if name == FLOOR else "")
        option = consider(name, rescaled(model, MIXES[name] / bits), plan.card, plan.count, plan.setting, host, note)
        if option.fits or name == FLOOR:
            return [option]
    return []


def consider(what: str, model: Model, card: Card, count: int, setting: Setting, host: Card, note: str = "") -> Alternative:
    placement = place(model, card, count, setting)
    limit = largest_context(model, card, count, setting)
    if too_large(placement, card, host):
        return Alternative(what, False, limit, None, note)
    seconds = predict(model, card, host, placement, setting.kv_type, [setting.context]).seconds["off"][setting.context]
    return Alternative(what, placement.fits, limit, 1 / seconds, note)


def experts_apart(model: Model, card: Card, count: int, setting: Setting, host: Card) -> Alternative:
    """Attention and the small tensors on the card, the experts in main memory, of which a token reads a few."""
    repeating = sum(model.layer_bytes)
    read = model.expert_share * repeating - (repeating - model.expert_bytes)
    rest = replace(model, layer_bytes=[round(size * (1 - model.expert_bytes / repeating)) for size in model.layer_bytes], expert_share=1.0)
    option = consider("--cpu-moe", rest, card, count, setting, host, "experts in main memory")
    if option.tokens_per_second is None or model.expert_bytes > host.usable:
        return replace(option, tokens_per_second=None)
    seconds = 1 / option.tokens_per_second + read / (host.bandwidth * host.family.weights)
    return replace(option, tokens_per_second=1 / seconds)


def rescaled(model: Model, factor: float) -> Model:
    """The same model in another quantization, all tensors scaled alike: the size is right, the mix is not."""
    return replace(
        model,
        layer_bytes=[round(size * factor) for size in model.layer_bytes],
        input_bytes=round(model.input_bytes * factor),
        output_bytes=round(model.output_bytes * factor),
        twice=round(model.twice * factor),
    )
