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
CONTRASTS = 3  # between groups of cells, in a record
TEMPER = 0.5  # of estimates, where rows compete
WORTH = 4  # values are read for sure of a tile with that many times the share of an average tile of a last run
POWER = 1.5  # of the scores, for the chances of a sample
REACH = 3  # of a tile's best cell beyond the mean of its pair, in units of the spread
MEASURED = 256  # tiles at most that a frame is measured on
LEAST = 0.05  # size of a channel, beside what channels vary on average


@dataclass(frozen=True)
class Params:
    mode: str = "ranked"
    eps: float = 0.09
    tau: float = 1e-7
    phi: float = 1e-3
    patience: int = 5
    sink: int = 16
    window: int = 128


@dataclass(frozen=True)
class Result:
    out: np.ndarray  # [rows, D]
    read: np.ndarray  # bool, per tile
    keys_only: np.ndarray  # bool, per tile: read, but for its values
    visible: np.ndarray  # bool, per tile: what a full pass reads

    @property
    def share(self):
        return self.read.sum() / max(1, self.visible.sum())


# summaries -------------------------------------------------------------------------------------------------------------


def rotate(x):
    """Walsh-Hadamard transform of each block of channels, of the largest power of two that divides D: x [..., D]. Its own inverse."""
    x, half, channels = np.array(x, np.float32), 1, x.shape[-1] & -x.shape[-1]
    while half < channels:
        pair = x.reshape(*x.shape[:-1], -1, 2, half)
        x = np.stack([pair[..., 0, :] + pair[..., 1, :], pair[..., 0, :] - pair[..., 1, :]], -2).reshape(x.shape)
        half *= 2
    return x * (np.float32(1) / np.sqrt(np.float32(channels)))


@dataclass(frozen=True)
class Frame:
    """Offset and size of each channel of a KV head."""

    offset: np.ndarray  # [D]
    size: np.ndarray  # [D]
    rotated: bool = False  # the keys in the cache

    def enter(self, keys):
        keys = rotate(keys) if self.rotated else np.float32(keys)
        return rotate((keys - self.offset.astype(np.float32)) / self.size.astype(np.float32))


def measure(k, rotated=False):
    """The frame of a KV head from its first cells: k [cells, D]."""
    n_tile, head_size = len(k) // TILE, k.shape[1]
    n = min(n_tile, MEASURED)
    tiles = (2 * np.arange(n) + 1) * n_tile // (2 * n) if n else np.empty(0, int)
    keys = (rotate(k) if rotated else np.float32(k))[(tiles[:, None] * TILE + np.arange(TILE)).ravel()].astype(np.float64)
    offset, varies = (keys.mean(0), keys.std(0)) if n else (np.zeros(head_size), np.zeros(head_size))
    average = np.sqrt((varies**2).mean())
    if not 2**-14 <= average <= 65504:
        return Frame(np.zeros(head_size), np.ones(head_size), rotated)
    offset, size = np.clip(offset, -65504, 65504), np.clip(np.maximum(varies, LEAST * average), 2**-14, 65504)
    stored = np.stack([offset, size]).astype(np.float32).astype(np.float16).astype(np.float64)
    return Frame(stored[0], stored[1], rotated)


@dataclass(frozen=True)
class Summaries:
    """Of a KV head: its frame, and a record of every tile."""

    frame: Frame
    records: list[bytes]


# the mean of each pair of cells, beside the tile's: which contrast it adds, and which it takes away
PAIRS = np.array([[1, 1, 0], [1, -1, 0], [-1, 0, 1], [-1, 0, -1]])


@dataclass(frozen=True)
class Record:
    """What a record says of a tile: mean [D], contrasts [3, D], spread."""

    mean: np.ndarray
    contrasts: np.ndarray
    spread: float

    def pairs(self):
        return self.mean + PAIRS @ self.contrasts  # [4, D]


def record_size(head_size):
    return (head_size // 2 + CONTRASTS * head_size // 8 + 2 * (-(-head_size // 64) + 1) + CONTRASTS + 15) // 16 * 16


def to_f16(x):
    return np.minimum(np.float32(x), np.float32(65504)).astype(np.float16)


def to_f8(x):
    """The upper bits of an f16 that is not negative."""
    return np.minimum((to_f16(x).view(np.uint16).astype(np.uint32) + 64) >> 7, 0xF7).astype(np.uint8)


def from_f8(code):
    return (code.astype(np.uint16) << 7).view(np.float16).astype(np.float64)


def encode(keys):
    """The record of a tile: keys in the frame [cells, D] -> bytes."""
    keys = np.asarray(keys, np.float32)
    cells, size = keys.shape
    mean = (keys.astype(np.float64).sum(0) / cells).astype(np.float32)

    pair = np.pad((keys - mean).astype(np.float64), ((0, TILE - cells), (0, 0))).reshape(TILE // 2, 2, size).sum(1)
    contrast = np.stack([(pair[0] + pair[1] - (pair[2] + pair[3])) / 8, (pair[0] - pair[1]) / 4, (pair[2] - pair[3]) / 4])
    sign = contrast.astype(np.float32) >= 0
    sizes = to_f8((np.abs(contrast.astype(np.float32)).astype(np.float64).sum(1) / size).astype(np.float32))

    scale = np.empty(-(-size // 64), np.float16)
    code = np.empty(size)
    for block in range(len(scale)):
        x = mean[64 * block : 64 * (block + 1)]
        largest = max(x.max(), -x.min(), 0)
        scale[block] = to_f16(largest / np.float32(8)) * (-1 if x.max() >= -x.min() else 1)
        wide = scale[block].astype(np.float32)
        code[64 * block : 64 * (block + 1)] = np.clip(np.rint(x / wide), -8, 7) if wide else 0
    nibble = (code + 8).astype(np.uint8).reshape(-1, 2, 16)

    head = (nibble[:, 0] | nibble[:, 1] << 4).tobytes() + np.packbits(sign, axis=1, bitorder="little").tobytes() + scale.tobytes()
    told = decode(head + bytes(2) + sizes.tobytes(), size).pairs().astype(np.float32)
    left = (keys - told.repeat(2, 0)[:cells]).astype(np.float64)
    spread = to_f16(np.sqrt(np.float32((left**2).sum() / (cells * size))))
    return (head + spread.tobytes() + sizes.tobytes()).ljust(record_size(size), b"\0")


def decode(record, head_size):
    """bytes -> Record"""
    raw = np.frombuffer(record, np.uint8)
    contrasts = head_size // 2
    scales = contrasts + CONTRASTS * head_size // 8
    n_scale = -(-head_size // 64)

    nibble = raw[:contrasts].reshape(-1, 16)
    code = np.concatenate([nibble & 15, nibble >> 4], 1).reshape(-1).astype(np.float64) - 8
    sign = np.unpackbits(raw[contrasts:scales].reshape(CONTRASTS, -1), axis=1, bitorder="little") * 2.0 - 1
    scale = np.frombuffer(record, np.float16, n_scale + 1, scales).astype(np.float64)
    sizes = from_f8(raw[scales + 2 * (n_scale + 1) :][:CONTRASTS])
    return Record(code * scale[:n_scale].repeat(64)[:head_size], sign * sizes[:, None], scale[n_scale])


def summarize(k, frame=None):
    """The summaries of a KV head: k [cells, D]. Without a frame it is measured on all of them."""
    frame = frame or measure(k)
    keys = frame.enter(k)
    return Summaries(frame, [encode(keys[i : i + TILE]) for i in range(0, len(keys), TILE)])


# softmax over parts of the cache ---------------------------------------------------------------------------------------


def finite(m):
    """A maximum to subtract: nothing seen yet is none."""
    return np.where(np.isneginf(m), 0.0, m)


class State:
    """Running softmax of some rows: maximum m, mass l and weighted values o, relative to m."""

    def __init__(self, rows, size):
        self.m = np.full(rows, -np.inf)
        self.l = np.zeros(rows)
        self.o = np.zeros((rows, size))

    def add(self, m, l, o):
        new = np.maximum(self.m, m)
        base = finite(new)
        mine, other = np.exp(self.m - base), np.exp(m - base)
        self.l = self.l * mine + l * other
        self.o = self.o * mine[:, None] + o * other[:, None]
        self.m = new

    def mass(self, m):
        """l, relative to another maximum"""
        return self.l * np.exp(self.m - finite(m))

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
        self.keys_only = np.zeros(self.n_tile, bool)

    def cap(self, logits):
        return self.softcap * np.tanh(logits / self.softcap) if self.softcap else logits

    def keys(self, tile):
        """Read a tile's keys: maximum and weights [rows, cells] of its logits."""
        cells = slice(tile * TILE, (tile + 1) * TILE)
        logits = np.where(self.visible[:, cells], self.cap(self.q @ self.k[cells].T * self.scale), -np.inf)
        m = logits.max(1)
        self.read[tile] = True
        return m, np.exp(logits - finite(m)[:, None])

    def values(self, tile, m, p, state):
        """Read its values into a state."""
        state.add(m, p.sum(1), p @ self.v[tile * TILE : (tile + 1) * TILE])

    def fetch(self, tiles, state):
        for tile in tiles:
            m, p = self.keys(tile)
            self.values(tile, m, p, state)

    def result(self, states, sinks):
        total = State(self.rows, self.size)
        if sinks is not None:  # a cell without a value
            total.add(np.asarray(sinks, np.float64), np.ones(self.rows), np.zeros((self.rows, self.size)))
        for state in states:
            total.add(state.m, state.l, state.o)
        visible = np.zeros(self.n_tile, bool)
        visible[self.seen] = True
        return Result(total.output(), self.read, self.keys_only, visible)


# modes -----------------------------------------------------------------------------------------------------------------


def attention(q, k, v, visible, params=Params(), scale=None, softcap=0.0, sinks=None, summaries=None, strands=None):
    """q [rows, D], k and v [cells, D], visible [rows, cells], sinks [rows] -> Result. Mode ranked makes its own summaries if
    it is not given any."""
    scale = 1 / np.sqrt(q.shape[1]) if scale is None else scale
    head = Head(q, k, v, visible, scale, softcap)
    if params.mode == "ranked" and params.eps > 0:
        states = ranked(head, params, summaries or summarize(head.k), strands)
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


def estimate(head, summaries, tiles):
    """Log of the mass that each tile would add to each row: [rows, tiles]"""
    frame = summaries.frame
    q = head.q * head.scale
    q = rotate(q).astype(np.float64) if frame.rotated else q
    origin, q = q @ frame.offset, rotate(q * frame.size).astype(np.float64)
    norm = np.linalg.norm(q, axis=1)
    e = np.empty((head.rows, len(tiles)))
    for i, tile in enumerate(tiles):
        record = decode(summaries.records[tile], head.size)
        best = origin + (q @ record.pairs().T).max(1)
        with np.errstate(divide="ignore"):
            e[:, i] = np.log(head.count[:, tile]) + head.cap(best) + REACH * record.spread * norm
    return e


def sampled(score):
    """Of tiles in the order of their scores, the few that stand for all, and for how many each. Their chances are laid end to end,
    and at even steps along them one is taken."""
    if not len(score):
        return [], []
    chance = np.exp(POWER * (score - score[0]))
    step = chance.sum() / max(1, len(score) // 16)
    hits = np.ceil(np.cumsum(chance) / step - 0.5)  # of the steps, how many lie before the end of each
    picks = np.flatnonzero(np.diff(hits, prepend=0))
    return picks, np.maximum(1, step / chance[picks])


def eps_run(eps, size, cells):
    return min(0.5, eps * 256 * size / cells)


def factor(share, stands_for, limit, due):
    """How often a tile counts whose keys were read, 0 if its values are not; and what is due after it."""
    worth = WORTH * limit / JUDGE
    if stands_for > 1 and share > worth:  # a find, not a specimen
        stands_for = max(1.0, stands_for * worth / share)
    chance = stands_for * share / worth
    if chance >= 1:
        return stands_for, due
    due += chance
    return (stands_for / chance, due - 1) if due >= 1 else (0.0, due)


class Walk:
    """A strand's walk: its state, and what it knows. known: the mass of the window."""

    def __init__(self, head, known, strands, limit):
        self.head, self.known, self.strands, self.limit = head, known, strands, limit
        self.state = State(head.rows, head.size)
        self.found = State(head.rows, 0)  # the mass of all tiles of the runs, values read or not
        self.due = 0.5

    def read(self, tiles, stands_for=None):
        """The keys, then the values that are worth it. Returns the largest share of the known mass that the tiles have for a row."""
        keys = [self.head.keys(tile) for tile in tiles]
        last = State(self.head.rows, 0)
        for m, p in keys:
            last.add(m, p.sum(1), last.o)
        if stands_for is None:
            self.found.add(last.m, last.l, last.o)
        m = np.maximum(last.m, np.maximum(self.found.m, self.known.m))
        mass = self.known.mass(m) + self.strands * self.found.mass(m)
        for tile, (top, p), many in zip(tiles, keys, np.ones(len(tiles)) if stands_for is None else stands_for, strict=True):
            share = largest_share(p.sum(1) * np.exp(top - finite(m)), mass)
            times, self.due = factor(share, many, self.limit, self.due)
            if times > 0:
                self.head.values(tile, top, times * p, self.state)
            else:
                self.head.keys_only[tile] = True
        return largest_share(self.strands * last.mass(m), mass)


def largest_share(part, whole):
    with np.errstate(divide="ignore"):  # a row may know of nothing yet
        return np.divide(part, whole, out=np.zeros(len(part)), where=part > 0).max()


def ranked(head, params, summaries, strands=None):
    """Best first, until a run gained little; then a sample of the rest."""
    sink, candidates, window = split(head, params)
    strands = strands or max(1, min(MAX_STRANDS, head.n_tile // MIN_TILES))

    known = State(head.rows, head.size)
    head.fetch(window, known)
    base = known.copy()
    head.fetch(sink, base)

    # the score of a tile: the largest share of the estimated mass, of all rows; of the window whole tiles count
    e = TEMPER * estimate(head, summaries, np.concatenate([candidates, window]))
    e[:, len(candidates) :][head.count[:, window] < TILE] = -np.inf
    top = e.max(1, keepdims=True, initial=-np.inf)
    top = finite(top)
    with np.errstate(divide="ignore"):
        total = top + np.log(np.exp(e - top).sum(1, keepdims=True))
    total = finite(total)
    score = (e - total)[:, : len(candidates)].max(0)

    states = [base]
    for strand in range(strands):
        mine, its_score = candidates[strand::strands], score[strand::strands]
        ranking = np.argsort(-its_score, kind="stable")
        order = mine[ranking]
        walk = Walk(head, known, strands, eps_run(params.eps, head.size, len(head.k)))
        done, run = 0, JUDGE // strands
        while done < len(order):
            gain = walk.read(order[done : done + run])
            done += run
            if gain < walk.limit:
                break
        picks, stand_for = sampled(its_score[ranking][done:])
        walk.read(order[done:][picks], stand_for)
        states.append(walk.state)
    return states
