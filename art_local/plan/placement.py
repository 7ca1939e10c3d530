"""What goes where: how many layers fit the cards, and what the largest context is that leaves them all there."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from art_local.model.header import padded
from art_local.plan.cards import Card
from art_local.plan.memory import CELLS, Model, Setting, compute_bytes, kv_bytes, scratch_bytes, summary_bytes


@dataclass(frozen=True)
class Placement:
    """Bytes on the cards by part, all cards together; what does not fit stays in main memory."""

    ngl: int
    layers: int  # all, the output layer counted
    weights: int
    kv: int
    state: int
    summaries: int
    compute: int
    scratch: int
    reserve: int
    capacity: int
    host_weights: int
    host_kv: int

    @property
    def fits(self) -> bool:
        return self.ngl == self.layers

    @property
    def used(self) -> int:
        return self.weights + self.kv + self.state + self.summaries + self.compute + self.scratch + self.reserve

    @property
    def host_bytes(self) -> int:
        """What main memory must hold beside it."""
        return self.host_weights + self.host_kv

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "fits": self.fits, "used": self.used}


def place(model: Model, card: Card, count: int, setting: Setting) -> Placement:
    """llama.cpp offloads the output layer first, then repeating layers from the last to the first."""
    compute = compute_bytes(model, setting, 4 if count > 1 else 1)
    scratch = scratch_bytes(model, setting, cuda=not card.unified)
    room = [card.usable - compute - scratch] * count
    costs = [layer_cost(model, setting, index) for index in range(len(model.layer_bytes))]
    shared = model.input_bytes - model.twice if card.unified else 0
    ngl = fill(room, [model.output_bytes + shared, *[sum(cost) for cost in reversed(costs)]])
    on = costs[len(costs) - max(ngl - 1, 0) :]
    off = costs[: len(costs) - max(ngl - 1, 0)]
    weights, kv, state, summaries = (sum(cost[part] for cost in on) for part in range(4))
    return Placement(
        ngl, len(costs) + 1, weights + (model.output_bytes + shared if ngl else 0), kv, state, summaries,
        compute * count if ngl else 0, scratch * count if ngl else 0, card.reserve * count, card.memory * count,
        sum(cost[0] for cost in off) + (0 if card.unified and ngl else model.input_bytes) + (0 if ngl else model.output_bytes),
        sum(cost[1] + cost[2] for cost in off),
    )  # fmt: skip


def layer_cost(model: Model, setting: Setting, index: int) -> tuple[int, int, int, int]:
    """Weights, KV, recurrent state, summaries of one layer. Prediction layers past the last one have no cache."""
    if index >= len(model.layers):
        return model.layer_bytes[index], 0, 0, 0
    layer = model.layers[index]
    state = model.attention.layer_state * setting.parallel if layer.recurrent else 0
    return model.layer_bytes[index], kv_bytes(layer, setting), state, summary_bytes(layer, setting)


def fill(room: list[int], costs: list[int]) -> int:
    """How many of the costs fit, in order, each on one card."""
    card = placed = 0
    for cost in costs:
        while card < len(room) and room[card] < cost:
            card += 1
        if card == len(room):
            break
        room[card] -= cost
        placed += 1
    return placed


def largest_context(model: Model, card: Card, count: int, setting: Setting) -> int:
    """The largest context, in steps of 256 up to the trained one, that leaves every layer on the cards; 0 if none does."""
    low, high = 0, max(padded(model.context or 131072, CELLS) // CELLS, 1)
    while low < high:
        middle = (low + high + 1) // 2
        if place(model, card, count, replace(setting, context=middle * CELLS)).fits:
            low = middle
        else:
            high = middle - 1
    return low * CELLS
