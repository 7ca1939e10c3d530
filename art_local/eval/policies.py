"""What people use today, beside our modes: which cells each policy keeps. Numpy only; nothing here is fast, or ours.

A policy sees the scores of all cells, but uses no more of them than the method that it stands for could know.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from art_local.eval.transformer import Array, softmax

Mask = NDArray[np.bool_]
SINK, WINDOW, TILE, POOL = 16, 32, 16, 7


@dataclass
class View:
    """One layer at one step."""

    q: Array  # [KV heads, group, size]
    keys: Array  # [KV heads, cells, size]
    scores: Array  # [KV heads, group, cells]
    prompt: int  # cells of the prompt; what follows was decoded
    observed: Array | None  # [KV heads, prompt]: what the prompt's last queries looked at
    bounds: dict[int, tuple[Array, Array]]  # of this layer, by number of tiles
    budget: float

    @property
    def cells(self) -> int:
        return int(self.scores.shape[2])

    @property
    def allowed(self) -> int:
        return max(SINK + WINDOW, int(self.budget * self.cells))

    def nothing(self) -> Mask:
        return np.zeros((self.scores.shape[0], self.cells), dtype=bool)


def everything(view: View) -> Mask:
    return ~view.nothing()


def sink_window(view: View) -> Mask:
    """StreamingLLM: the first cells and the newest ones."""
    keep = view.nothing()
    keep[:, :SINK] = True
    keep[:, -(view.allowed - SINK) :] = True
    return keep


def chosen_once(view: View) -> Mask:
    """SnapKV-like: cells chosen once at the end of the prompt by what its last queries looked at; all that is decoded later stays."""
    assert view.observed is not None
    keep = view.nothing()
    keep[:, view.prompt - WINDOW :] = True
    padded = np.pad(view.observed[:, : view.prompt - WINDOW], ((0, 0), (POOL // 2, POOL // 2)))
    pooled = np.lib.stride_tricks.sliding_window_view(padded, POOL, axis=1).max(axis=2)
    count = min(pooled.shape[1], max(1, int(view.budget * view.prompt) - WINDOW))
    best = np.argpartition(-pooled, count - 1, axis=1)[:, :count]
    np.put_along_axis(keep, best, True, axis=1)
    return keep


def quest(view: View) -> Mask:
    """Quest-like: the best tiles by an upper bound from each tile's smallest and largest key, a fixed share at every step."""
    tiles = view.prompt // TILE
    low, high = bounds(view, tiles)
    # [KV heads, group, tiles], the best head of the group decides
    score = np.maximum(view.q, 0) @ high.swapaxes(1, 2) + np.minimum(view.q, 0) @ low.swapaxes(1, 2)
    return best_tiles(view, score.max(axis=1), tiles)


def bounds(view: View, tiles: int) -> tuple[Array, Array]:
    if tiles not in view.bounds:
        whole = view.keys[:, : tiles * TILE].reshape(view.keys.shape[0], tiles, TILE, -1)
        view.bounds[tiles] = whole.min(axis=2), whole.max(axis=2)
    return view.bounds[tiles]


def value_skip(view: View) -> Mask:
    """The skip-softmax idea: every key is read, values only of the tiles with the largest probabilities."""
    tiles = view.prompt // TILE
    mass = tile_sums(softmax(view.scores), tiles).max(axis=1)
    return best_tiles(view, mass, tiles)


def oracle(view: View) -> Mask:
    """Not a method: the best tiles by the true mass. How far a perfect ranking would go at this share."""
    return value_skip(view)


def worst(view: View) -> Mask:
    """A broken ranking, for the test that this harness notices."""
    tiles = view.prompt // TILE
    return best_tiles(view, -tile_sums(softmax(view.scores), tiles).max(axis=1), tiles)


def tile_sums(p: Array, tiles: int) -> Array:
    return np.asarray(p[..., : tiles * TILE].reshape(*p.shape[:-1], tiles, TILE).sum(axis=-1))


def best_tiles(view: View, score: Array, tiles: int) -> Mask:
    """Sink, window and whatever was decoded since the prompt are always there."""
    keep = view.nothing()
    keep[:, :SINK] = True
    keep[:, view.prompt - WINDOW :] = True
    count = min(tiles, max(0, round((view.allowed - SINK - WINDOW) / TILE)))
    if count:
        open_tiles = score.copy()
        open_tiles[:, : SINK // TILE] = -np.inf
        best = np.argpartition(-open_tiles, count - 1, axis=1)[:, :count]
        cells = (best[:, :, None] * TILE + np.arange(TILE)).reshape(best.shape[0], -1)
        np.put_along_axis(keep, cells, True, axis=1)
    return keep


@dataclass(frozen=True)
class Policy:
    keep: Callable[[View], Mask]
    keys: float | None = None  # share of the keys that is read, if it is not that of the values
    records: float = 0.0  # summaries, relative to the bytes of a whole cache
    watches_prompt: bool = False

    def byte_share(self, kept: float) -> float:
        return ((kept if self.keys is None else self.keys) + kept) / 2 + self.records


POLICIES = {
    "numpy exact": Policy(everything),
    "sink and window": Policy(sink_window),
    "chosen once (SnapKV-like)": Policy(chosen_once, watches_prompt=True),
    "min-max bound (Quest-like)": Policy(quest, records=1 / TILE),
    "value skip": Policy(value_skip, keys=1.0),
    "oracle": Policy(oracle),
    "worst tiles (test)": Policy(worst),
}


@dataclass
class Reading:
    """Attention under a policy, and what it read; an `Attend` of the transformer."""

    policy: Policy
    budget: float
    prompt: int
    observed: dict[int, Array] = field(default_factory=dict)
    bounds: dict[int, dict[int, tuple[Array, Array]]] = field(default_factory=dict)
    kept: list[list[float]] = field(default_factory=list)

    def __call__(self, layer: int, q: Array, keys: Array, values: Array) -> Array:
        scores = q @ keys.swapaxes(1, 2)
        view = View(q, keys, scores, self.prompt, self.observed.get(layer), self.bounds.setdefault(layer, {}), self.budget)
        keep = self.policy.keep(view)
        while len(self.kept) <= layer:
            self.kept.append([])
        self.kept[layer].append(float(keep.mean()))
        return np.asarray(softmax(np.where(keep[:, None, :], scores, np.float32(-np.inf))) @ values)

    @property
    def read_share(self) -> float:
        return float(np.mean(self.kept)) if self.kept else 1.0

    @property
    def byte_share(self) -> float:
        return self.policy.byte_share(self.read_share)

    @property
    def bytes_by_layer(self) -> list[float]:
        return [self.policy.byte_share(float(np.mean(layer))) for layer in self.kept]
