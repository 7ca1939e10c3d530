"""Decode attention with early termination, in float64: the algorithm of docs/algorithm.md, step by step.

One KV head of one stream at a time. `q` holds the query rows of the group, `k` and `v` the cells of the cache, `visible`
which cell each row may see. Nothing here is fast; tests compare what is fast with it."""

from dataclasses import dataclass

import numpy as np

TILE = 8  # cells
BLOCK = 64 // TILE  # tiles between two looks of the stability rule
JUDGE = 128  # tiles that the strands read together between two looks of the gain rule
MAX_STRANDS = 16
MIN_TILES = 16  # of a strand
CODE_MAX = 31  # of the mean of a record
REACH = 5  # of a tile's best cell beyond its mean, in units of the spread


@dataclass(frozen=True)
class Params:
    mode: str = "ranked"
    eps: float = 0.07
    tau: float = 1e-7
    phi: float = 1e-3
    patience: int = 5
    sink: int = 16
    window: int = 128


@dataclass(frozen=True)
class Result:
    out: np.ndarray  # [rows, D]
    read: np.ndarray  # bool, per tile
    visible: np.ndarray  # bool, per tile: what a full pass reads

    @property
    def share(self):
        return self.read.sum() / max(1, self.visible.sum())


# summaries -------------------------------------------------------------------------------------------------------------


def record_size(head_size):
    return (head_size // 2 + head_size // 4 + 2 * (head_size // 32 + 1) + 15) // 16 * 16


def to_f16(x):
    return np.minimum(np.float32(x), np.float32(65504)).astype(np.float16)


def encode(keys):
    """The record of a tile: keys [cells, D] -> bytes."""
    keys = np.asarray(keys, np.float32)
    cells, size = keys.shape
    mean = (keys.astype(np.float64).sum(0) / cells).astype(np.float32)
    spread = np.sqrt(np.float32(((keys - mean).astype(np.float64) ** 2).sum() / (cells * size)))

    blocks = mean.reshape(-1, 32)
    scale = to_f16(np.abs(blocks).max(1) / np.float32(CODE_MAX))
    wide = scale.astype(np.float32)[:, None]
    code = np.rint(np.divide(blocks, wide, out=np.zeros_like(blocks), where=wide > 0))
    code = (np.clip(code, -CODE_MAX, CODE_MAX) + 32).astype(np.uint8)

    low, high = code & 15, code >> 4
    low = low[:, :16] | low[:, 16:] << 4
    high = high[:, :8] | high[:, 8:16] << 2 | high[:, 16:24] << 4 | high[:, 24:] << 6
    record = low.tobytes() + high.tobytes() + scale.tobytes() + to_f16(spread).tobytes()
    return record.ljust(record_size(size), b"\0")


def decode(record, head_size):
    """bytes -> mean [D], spread"""
    raw = np.frombuffer(record, np.uint8)
    n = head_size // 32
    low = raw[: head_size // 2].reshape(n, 16)
    high = raw[head_size // 2 : head_size * 3 // 4].reshape(n, 8)
    scales = np.frombuffer(record, np.float16, n + 1, head_size * 3 // 4).astype(np.float64)
    code = np.concatenate([low & 15, low >> 4], 1) | np.concatenate([(high >> shift & 3) << 4 for shift in (0, 2, 4, 6)], 1)
    return ((code.astype(np.float64) - 32) * scales[:n, None]).reshape(-1), scales[n]


def summarize(k):
    """The records of all tiles of a KV head: k [cells, D]."""
    return [encode(k[i : i + TILE]) for i in range(0, len(k), TILE)]


# softmax over parts of the cache ---------------------------------------------------------------------------------------


class State:
    """Running softmax of some rows: maximum m, mass l and weighted values o, relative to m."""

    def __init__(self, rows, size):
        self.m = np.full(rows, -np.inf)
        self.l = np.zeros(rows)
        self.o = np.zeros((rows, size))

    def add(self, m, l, o):
        new = np.maximum(self.m, m)
        base = np.where(np.isneginf(new), 0.0, new)
        mine, other = np.exp(self.m - base), np.exp(m - base)
        self.l = self.l * mine + l * other
        self.o = self.o * mine[:, None] + o * other[:, None]
        self.m = new

    def mass(self, m):
        """l, relative to another maximum"""
        return self.l * np.exp(self.m - np.where(np.isneginf(m), 0.0, m))

    def copy(self):
        other = State(*self.o.shape)
        other.m, other.l, other.o = self.m.copy(), self.l.copy(), self.o.copy()
        return other

    def output(self):
        return self.o / np.where(self.l > 0, self.l, 1.0)[:, None]


class Head:
    def __init__(self, q, k, v, visible, scale, softcap):
        self.q, self.k, self.v = (np.asarray(x, np.float64) for x in (q, k, v))
        self.visible = np.asarray(visible, bool)
        self.scale, self.softcap = scale, softcap
        self.rows, self.size = self.q.shape
        self.n_tile = -(-len(self.k) // TILE)
        cells = np.pad(self.visible, ((0, 0), (0, self.n_tile * TILE - len(self.k))))
        self.count = cells.reshape(self.rows, self.n_tile, TILE).sum(2)  # visible cells of each row in each tile
        self.seen = np.flatnonzero(self.count.any(0))  # the visible tiles
        self.read = np.zeros(self.n_tile, bool)

    def cap(self, logits):
        return self.softcap * np.tanh(logits / self.softcap) if self.softcap else logits

    def fetch(self, tiles, state):
        """Read tiles into a state."""
        for tile in tiles:
            cells = slice(tile * TILE, (tile + 1) * TILE)
            logits = np.where(self.visible[:, cells], self.cap(self.q @ self.k[cells].T * self.scale), -np.inf)
            m = logits.max(1)
            p = np.exp(logits - np.where(np.isneginf(m), 0.0, m)[:, None])
            state.add(m, p.sum(1), p @ self.v[cells])
            self.read[tile] = True

    def result(self, states, sinks):
        total = State(self.rows, self.size)
        if sinks is not None:  # a cell without a value
            total.add(np.asarray(sinks, np.float64), np.ones(self.rows), np.zeros((self.rows, self.size)))
        for state in states:
            total.add(state.m, state.l, state.o)
        visible = np.zeros(self.n_tile, bool)
        visible[self.seen] = True
        return Result(total.output(), self.read, visible)


# modes -----------------------------------------------------------------------------------------------------------------


def attention(q, k, v, visible, params=Params(), scale=None, softcap=0.0, sinks=None, records=None, strands=None):
    """q [rows, D], k and v [cells, D], visible [rows, cells], sinks [rows] -> Result. Mode ranked makes its own records if
    it is not given any."""
    scale = 1 / np.sqrt(q.shape[1]) if scale is None else scale
    head = Head(q, k, v, visible, scale, softcap)
    if params.mode == "ranked" and params.eps > 0:
        states = ranked(head, params, summarize(head.k) if records is None else records, strands)
    elif params.mode == "stability" and params.tau > 0 and params.phi > 0:
        states = stability(head, params)
    else:
        states = [State(head.rows, head.size)]
        head.fetch(head.seen, states[0])
    return head.result(states, sinks)


def split(head, params):
    """The visible tiles: sink, candidates, window."""
    n = len(head.seen)
    sink = min(-(-params.sink // TILE), n)
    window = max(n - -(-params.window // TILE), sink)
    return head.seen[:sink], head.seen[sink:window], head.seen[window:]


def stability(head, params):
    """Newest first, until the output has been stable for a while."""
    sink, candidates, window = split(head, params)
    state = State(head.rows, head.size)
    head.fetch(window, state)
    head.fetch(sink, state)

    out, stable = state.output(), 0
    order = candidates[::-1]
    for start in range(0, len(order), BLOCK):
        if stable == params.patience:
            break
        last = out
        head.fetch(order[start : start + BLOCK], state)
        out = state.output()
        norm, norm_last = np.linalg.norm(out, axis=1), np.linalg.norm(last, axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            still = (np.abs(norm - norm_last) < params.tau * norm) & (1 - (out * last).sum(1) / (norm * norm_last) < params.phi)
        stable = stable + 1 if np.all(still | ((norm == 0) & (norm_last == 0))) else 0
    return [state]


def estimate(head, records, tiles):
    """Log of the mass that each tile would add to each row: [rows, tiles]"""
    q = head.q * head.scale
    norm = np.linalg.norm(q, axis=1)
    e = np.empty((head.rows, len(tiles)))
    for i, tile in enumerate(tiles):
        mean, spread = decode(records[tile], head.size)
        with np.errstate(divide="ignore"):
            e[:, i] = np.log(head.count[:, tile]) + head.cap(q @ mean) + REACH * spread * norm
    return e


def eps_run(eps, cells):
    return min(0.5, eps * (16384 / cells) ** 1.5)


def ranked(head, params, records, strands=None):
    """Best first, until a run gained little."""
    sink, candidates, window = split(head, params)
    strands = strands or max(1, min(MAX_STRANDS, head.n_tile // MIN_TILES))

    known = State(head.rows, head.size)
    head.fetch(window, known)
    base = known.copy()
    head.fetch(sink, base)

    # the score of a tile: the largest share of the estimated mass, of all rows; of the window whole tiles count
    e = estimate(head, records, np.concatenate([candidates, window]))
    e[:, len(candidates) :][head.count[:, window] < TILE] = -np.inf
    top = e.max(1, keepdims=True, initial=-np.inf)
    top = np.where(np.isneginf(top), 0.0, top)
    with np.errstate(divide="ignore"):
        total = top + np.log(np.exp(e - top).sum(1, keepdims=True))
    total = np.where(np.isneginf(total), 0.0, total)
    score = (e - total)[:, : len(candidates)].max(0)

    states = [base]
    limit = eps_run(params.eps, len(head.k))
    for strand in range(strands):
        mine, its_score = candidates[strand::strands], score[strand::strands]
        order = mine[np.argsort(-its_score, kind="stable")]
        walk = State(head.rows, head.size)
        run = JUDGE // strands
        for start in range(0, len(order), run):
            before = walk.copy()
            head.fetch(order[start : start + run], walk)
            m = np.maximum(walk.m, known.m)
            mass, last = strands * walk.mass(m), strands * before.mass(m)
            with np.errstate(invalid="ignore"):
                gain = np.where(mass > last, (mass - last) / (known.mass(m) + mass), 0.0)
            if gain.max() < limit:
                break
        states.append(walk)
    return states
