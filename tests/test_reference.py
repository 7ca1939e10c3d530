"""The float64 reference of decode attention with early termination, and the CPU backend held against it."""

import os
import subprocess
from itertools import pairwise

import numpy as np
import pytest

from art_local import reference
from art_local.building.presets import Preset
from art_local.reference import TILE, Params

D = 64
NORMAL = Params()
EXACT = Params(mode="exact")


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def softmax_attention(q, k, v, visible):
    logits = np.where(visible, q @ k.T / np.sqrt(q.shape[1]), -np.inf)
    p = np.exp(logits - logits.max(1, keepdims=True))
    return p @ v / p.sum(1, keepdims=True)


def error(result, expected, v):
    """mean squared error, in units of the values: about 1 if the only cell that counts is missed"""
    return ((result.out - expected) ** 2).mean() / (v**2).mean()


def background(rng, cells, rows=4, size=D):
    return rng.normal(size=(rows, size)), 0.7 * rng.normal(size=(cells, size)), rng.normal(size=(cells, size)), np.ones((rows, cells), bool)


def raise_logit(k, cell, query, logit):
    k[cell] += query * logit * np.sqrt(len(query)) / (query @ query)


# records -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [64, 96, 128, 160, 256])
def test_record_holds_mean_contrasts_and_spread(rng, size):
    keys = rng.normal(size=(TILE, size)) + 3 * rng.normal(size=size)
    record = reference.decode(reference.encode(keys), size)
    assert len(reference.encode(keys)) == reference.record_size(size)

    step = np.concatenate([np.abs(block).max().repeat(len(block)) for block in np.split(keys.mean(0), range(64, size, 64))]) / 8
    assert np.all(np.abs(record.mean - keys.mean(0)) <= 1.01 * step)
    halves = (keys[:4].mean(0) - keys[4:].mean(0)) / 2
    assert np.array_equal(record.contrasts[0] > 0, halves > 0)
    assert np.abs(record.contrasts[0]) == pytest.approx(np.abs(halves).mean(), rel=0.07)
    left = keys - record.pairs().repeat(2, 0)
    assert record.spread == pytest.approx(np.sqrt((left**2).mean()), rel=1e-3)


def test_record_tells_pairs_apart(rng):
    """Whatever pair of cells points where the query looks, the record says so, and by how much roughly."""
    query = np.sign(rng.normal(size=D))
    for cell in range(TILE):
        keys = 0.1 * rng.normal(size=(TILE, D))
        keys[cell // 2 * 2 : cell // 2 * 2 + 2] += query
        logits = reference.decode(reference.encode(keys), D).pairs() @ query
        assert logits.argmax() == cell // 2
        assert logits.max() == pytest.approx(D, rel=0.25)


@pytest.mark.parametrize("size", range(64, 257, 32))
def test_records_are_small(size):
    q8_0 = 2 * TILE * size * 34 / 32
    assert reference.record_size(size) <= 0.06 * q8_0


@pytest.mark.parametrize("keys", [np.zeros((8, 64)), np.full((8, 64), 65504.0), np.full((3, 64), -1e-7), np.eye(8, 64) * 6e4])
def test_record_of_extremes_is_finite(keys):
    record = reference.decode(reference.encode(keys), 64)
    assert np.all(np.isfinite(record.pairs())) and np.isfinite(record.spread)


# frames ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [64, 96, 192, 256])
@pytest.mark.parametrize("rotated", [False, True])
def test_a_frame_keeps_products(rng, size, rotated):
    keys, query = rng.normal(size=(300, size)) * np.exp(rng.normal(size=size)) + 5 * rng.normal(size=size), rng.normal(size=size)
    held = reference.rotate(keys) if rotated else keys
    frame = reference.measure(held, rotated)
    z = frame.enter(held)
    assert frame.offset @ query + z @ reference.rotate(frame.size * query) == pytest.approx(keys @ query, rel=1e-3, abs=1e-2)
    assert np.abs(z.mean()) < 0.1 and z.std() == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize(
    "keys",
    [
        np.zeros((64, 64)),
        np.full((64, 64), 3.0),
        np.full((5, 64), 1e4),
        np.full((64, 64), np.nan),
        np.r_[np.eye(64)[:63], np.eye(64)[:1] * np.nan],
    ],
)
def test_keys_that_tell_nothing_make_no_frame(keys):
    frame = reference.measure(keys)
    assert np.array_equal(frame.offset, np.zeros(64)) and np.array_equal(frame.size, np.ones(64))


def test_a_frame_lets_weak_channels_speak(rng):
    """A query that asks a channel which varies little beside another: in the frame the record still tells which pair it is."""
    size = np.exp(1.5 * rng.normal(size=D))
    keys = size * rng.normal(size=(2048, D)) + 10 * size * rng.normal(size=D)
    query, frame = rng.normal(size=D) / size, reference.measure(keys)

    def told(frame):
        q = reference.rotate(frame.size * query)
        pairs = np.concatenate([reference.decode(r, D).pairs() for r in reference.summarize(keys, frame).records])
        return np.corrcoef(pairs @ q, keys.reshape(-1, 2, D).mean(1) @ query)[0, 1]

    none = reference.Frame(np.zeros(D), np.ones(D))
    assert told(frame) > 0.75 and told(frame) > told(none) + 0.15, (told(frame), told(none))


# modes -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cells", [1, 7, 8, 113, 1000])
@pytest.mark.parametrize("params", [EXACT, Params(eps=0), Params(mode="stability", tau=0)])
def test_reading_everything_is_attention(rng, cells, params):
    q, k, v, visible = background(rng, cells)
    result = reference.attention(q, k, v, visible, params)
    assert result.out == pytest.approx(softmax_attention(q, k, v, visible), abs=1e-12)
    assert result.share == 1


# stops early on these short and flat contexts, where the default reads nearly all
LOOSE = Params(eps=0.2)


@pytest.mark.parametrize("cell", [40, 1234, 2800, 3900])
@pytest.mark.parametrize("strands", [1, 4, 16])
def test_ranked_finds_a_needle_wherever_it_lies(rng, cell, strands):
    q, k, v, visible = background(rng, 4096)
    raise_logit(k, cell, q[2], 12)
    result = reference.attention(q, k, v, visible, LOOSE, strands=strands)
    assert result.read[cell // TILE]
    assert error(result, softmax_attention(q, k, v, visible), v) < 0.01
    assert result.share < 0.8


def test_ranked_finds_a_needle_for_every_row(rng):
    q, k, v, visible = background(rng, 8192, rows=14)
    needles = rng.integers(16, 8000, 14)
    for row, cell in enumerate(needles):
        raise_logit(k, cell, q[row], 12)
    result = reference.attention(q, k, v, visible, LOOSE)
    assert np.all(result.read[needles // TILE])
    assert result.share < 0.8


def test_two_equal_needles_are_both_read(rng):
    q, k, v, visible = background(rng, 4096, rows=1)
    for cell in (500, 3000):
        raise_logit(k, cell, q[0], 14)
    result = reference.attention(q, k, v, visible, LOOSE)
    assert result.read[500 // TILE] and result.read[3000 // TILE]
    assert error(result, softmax_attention(q, k, v, visible), v) < 1e-3
    assert result.share < 0.8


def test_all_mass_in_the_oldest_tile(rng):
    q, k, v, visible = background(rng, 4096, rows=1)
    for cell in range(TILE):
        raise_logit(k, cell, q[0], 14)
    result = reference.attention(q, k, v, visible, Params(eps=0.2, sink=0))
    assert result.read[0]
    assert error(result, softmax_attention(q, k, v, visible), v) < 1e-3


def test_stability_loses_the_needle_that_ranked_finds(rng):
    """The reason that mode ranked exists: a stable output says nothing about keys that were not read."""
    q, k, v, visible = background(rng, 8192, rows=1)
    for cell in range(8192 - 200, 8192):
        raise_logit(k, cell, q[0], 8)
    raise_logit(k, 900, q[0], 20)
    expected = softmax_attention(q, k, v, visible)
    stability = reference.attention(q, k, v, visible, Params(mode="stability", tau=1e-2, phi=1e-3))
    ranked = reference.attention(q, k, v, visible, LOOSE)
    assert not stability.read[900 // TILE] and error(stability, expected, v) > 0.3
    assert ranked.read[900 // TILE] and error(ranked, expected, v) < 1e-3


def test_alternating_signs_hide_behind_a_mean_of_zero(rng):
    q, k, v, visible = background(rng, 4096, rows=1)
    k *= 0.1
    sign = np.where(np.arange(4096) % 2, -1.0, 1.0)
    tile = slice(200 * TILE, 201 * TILE)
    for cell in range(200 * TILE, 201 * TILE):
        raise_logit(k, cell, q[0], 14 * sign[cell])
    assert abs(k[tile].mean(0) @ q[0] / 8) < 0.5
    result = reference.attention(q, k, v, visible, LOOSE)
    assert result.read[200]
    assert error(result, softmax_attention(q, k, v, visible), v) < 1e-3
    assert result.share < 0.8


def test_a_group_reads_what_any_of_its_heads_needs(rng):
    q, k, v, visible = background(rng, 4096, rows=2)
    for cell in range(4096 - 100, 4096):
        raise_logit(k, cell, q[0], 12)
    raise_logit(k, 700, q[1], 12)
    result = reference.attention(q, k, v, visible, LOOSE)
    assert result.read[700 // TILE] and result.share < 0.8


@pytest.mark.parametrize("mode", ["exact", "stability", "ranked"])
def test_no_nan_whatever_the_mask(rng, mode):
    q, k, v, visible = background(rng, 2048)
    k *= 100
    visible[:] = False
    visible[0, 700] = True
    visible[1, 8:16] = True
    visible[2, 2040:] = True
    result = reference.attention(q, k, v, visible, Params(mode=mode))
    assert np.all(np.isfinite(result.out))
    assert result.out[0] == pytest.approx(v[700])
    assert np.all(result.out[3] == 0)


def test_smaller_eps_reads_more_and_is_closer(rng):
    q, k, v, visible = background(rng, 8192, rows=2)
    for tile in range(1024):
        grade = rng.random()
        for cell in range(tile * TILE, (tile + 1) * TILE):
            raise_logit(k, cell, q[0], 4 * grade)
    expected = softmax_attention(q, k, v, visible)
    results = [reference.attention(q, k, v, visible, Params(eps=eps)) for eps in (0.3, 0.1, 0.03, 0.01, 0.0)]
    shares = [result.share for result in results]
    errors = [error(result, expected, v) for result in results]
    assert shares == sorted(shares) and shares[0] < 0.5 and shares[-1] == 1
    assert errors[-1] < 1e-20 and all(later < 1.5 * earlier + 1e-12 for earlier, later in pairwise(errors))


def test_values_that_are_left_out_are_made_up_for(rng):
    """What is read in place of others has their mass, to within one that is due."""
    average, surely = 0.1 / reference.JUDGE, reference.WORTH * 0.1 / reference.JUDGE
    shares = rng.exponential(2, 500) * average
    due, total, left_out = 0.5, 0.0, 0
    for share in shares:
        times, due = reference.factor(share, 1.0, 0.1, due)
        assert times == 0 or times * share == pytest.approx(max(share, surely))
        total += times * share
        left_out += times == 0
    assert 100 < left_out < 400
    assert total == pytest.approx(shares.sum(), abs=surely)


def test_a_sample_counts_for_the_chances_that_it_was_drawn_from(rng):
    """What was drawn stands for all: the times that it counts make up for its chance, whatever the scores are."""
    score = -np.sort(rng.exponential(2, 3000))
    picks, times = reference.sampled(score)
    assert len(picks) <= len(score) // 16 and np.all(np.diff(picks) > 0) and np.all(times >= 1)
    chance = np.exp(reference.POWER * score)
    assert (chance[picks] * times).sum() == pytest.approx(chance.sum(), rel=0.01)
    thirds = [np.searchsorted(picks, end) for end in (1000, 2000, 3000)]
    assert thirds[0] > 2 * (thirds[1] - thirds[0]) > 4 * (thirds[2] - thirds[1]), "what promises more is drawn more often"
    assert reference.sampled(score[:0])[0] == [] and list(reference.sampled(score[:5])[0]) != []


def test_a_find_in_the_sample_does_not_stand_for_the_rest():
    surely = reference.WORTH * 0.1 / reference.JUDGE
    few = [reference.factor(share * surely, 30.0, 0.1, 0.0)[0] for share in (0.5, 1, 3, 100)]
    assert few == pytest.approx([30, 30, 10, 1])


def graded(rng):
    """Keys and values both grow with a tile's grade: what is left unread differs from what is read."""
    q, k, v, visible = background(rng, 8192, rows=1)
    k *= 0.3
    for tile in range(1024):
        grade = rng.random()
        for cell in range(tile * TILE, (tile + 1) * TILE):
            raise_logit(k, cell, q[0], 3 * grade)
        v[tile * TILE : (tile + 1) * TILE] += 10 * grade
    return q, k, v, visible


def signed_error(rng, params=LOOSE):
    q, k, v, visible = graded(rng)
    result = reference.attention(q, k, v, visible, params)
    assert result.share < 0.8
    return result, (result.out - softmax_attention(q, k, v, visible)).mean()


def test_a_sample_stands_for_the_rest(rng, monkeypatch):
    _, error_with = signed_error(np.random.default_rng(1), Params(eps=0.25))
    monkeypatch.setattr(reference, "sampled", lambda score: (np.array([], int), []))
    _, error_without = signed_error(np.random.default_rng(1), Params(eps=0.25))
    assert abs(error_with) < abs(error_without) / 4, (error_with, error_without)


def test_values_of_light_tiles_are_left_out_without_a_bias(rng, monkeypatch):
    result, error_with = signed_error(np.random.default_rng(1), Params(eps=0.1))
    assert 0.1 < result.keys_only.sum() / result.read.sum() < 0.9 and not np.any(result.keys_only & ~result.read)
    surely = reference.WORTH * 0.1 * 256 * D / 8192 / reference.JUDGE
    monkeypatch.setattr(reference, "factor", lambda share, n, limit, due: (n * (n * share >= surely), due))  # light: gone, with its mass
    _, error_without = signed_error(np.random.default_rng(1), Params(eps=0.1))
    assert abs(error_with) < abs(error_without) / 4, (error_with, error_without)


def test_stale_records_lose_needles(rng):
    """What a summary that does not follow the cache would cost: the reason that the caches' tests exist."""
    q, k, v, visible = background(rng, 8192, rows=4)
    for row, cell in enumerate((900, 2300, 5100, 7000)):
        raise_logit(k, cell, q[row], 16)
    summaries = reference.summarize(k)
    stale = reference.Summaries(summaries.frame, summaries.records[512:] + summaries.records[:512])
    expected = softmax_attention(q, k, v, visible)
    params = Params(eps=0.3)
    assert error(reference.attention(q, k, v, visible, params, summaries=summaries), expected, v) < 1e-3
    # found: 0.16, some of the four needles being read by luck
    assert error(reference.attention(q, k, v, visible, params, summaries=stale), expected, v) > 0.1


# the CPU backend -----------------------------------------------------------------------------------------------------------

OPS = str(Preset("cpu").program("test-backend-ops"))


def run_ops(cases, **environment):
    return subprocess.run(
        [OPS, "test", "-b", "CPU", "-o", "ART", "-p", cases], env={**os.environ, **environment}, capture_output=True, text=True
    )


def dumped(path):
    with open(path, "rb") as file:
        while name := file.readline():
            arrays = [np.fromfile(file, np.float32, int(np.fromfile(file, np.int64, 1)[0])) for _ in range(7)]
            yield dict(field.split("=") for field in name.decode().strip().split(",")), arrays


def same_case(case, arrays):
    """The reference on a case of the op tests: its output, and how many tiles are read, visible, read but for their values."""
    q, k, v, mask, sinks, out, counters = arrays
    size, heads, group, queries, streams = (int(case[x]) for x in ("head_size", "n_head", "group", "n_query", "n_stream"))
    cells = int(case["n_kv"])
    q = q.reshape(streams, heads, group * queries, size)
    k, v = (x.reshape(streams, -1, heads, size) for x in (k, v))
    mask = mask.reshape(streams, queries, cells)
    eps = float(case["eps"])
    params = Params(mode=case["mode"], sink=0 if case["input"] == "oldest" else 16, tau=1e-4, phi=1e-4)
    if eps >= 0:
        params = Params(mode=case["mode"], eps=eps, tau=eps, phi=eps, sink=params.sink)
    expected = np.empty((streams, queries, heads * group, size))
    read = keys_only = visible = 0
    for s in range(streams):
        for h in range(heads):
            sink_rows = np.repeat(sinks[h * group : (h + 1) * group], queries) if len(sinks) else None
            # frames are measured on the view, if at all; records are made of whole tiles, cells behind the view included
            frame = reference.measure(k[s, : cells if cells % 3 else 0, h], case["type"] != "f16" and size % 64 == 0)
            result = reference.attention(
                q[s, h],
                k[s, :cells, h],
                v[s, :cells, h],
                np.tile(np.isfinite(mask[s]), (group, 1)),
                params,
                softcap=float(case["softcap"]),
                sinks=sink_rows,
                summaries=reference.summarize(k[s, :, h], frame),
            )
            expected[s, :, h * group : (h + 1) * group] = result.out.reshape(group, queries, size).transpose(1, 0, 2)
            read += result.read.sum()
            keys_only += result.keys_only.sum()
            visible += result.visible.sum()
    return expected, (read, visible, keys_only), out.reshape(expected.shape), counters.reshape(heads, -1).sum(0)


@pytest.mark.built
@pytest.mark.parametrize("mode", ["exact", "stability", "ranked"])
def test_cpu_backend_does_what_the_reference_does(tmp_path, mode):
    cases = f"mode={mode},input=(random|graded|peaked|needle|holes|oldest|alternating),type=q8_0"
    dump = tmp_path / "cases"
    run = run_ops(cases, ART_TEST_DUMP=str(dump))
    assert run.returncode == 0, run.stdout
    # ranked: rounding decides which of two light tiles is read in place of both, and flat inputs average to nearly nothing
    near = 1e-2 if mode == "ranked" else 1e-3
    n = left_out = 0
    for case, arrays in dumped(dump):
        if int(case["n_query"]) > 8:
            continue  # a prompt, which no mode takes
        expected, (read, visible, keys_only), out, counters = same_case(case, arrays)
        assert counters[1] == visible, case
        assert abs(counters[0] - read) <= 0.01 * visible, (case, counters[0], read)
        assert abs(counters[4] - keys_only) <= 0.01 * visible, (case, counters[4], keys_only)
        left_out += keys_only
        assert ((out - expected) ** 2).sum() <= near * (expected**2).sum(), case
        n += 1
    assert n >= 7 and (left_out > 0) == (mode == "ranked")


@pytest.mark.built
@pytest.mark.parametrize("fault", ["stop", "stale", "drift"])
def test_a_broken_stop_rule_turns_the_op_tests_red(fault):
    """drift: the last of the repeated runs sees another input, as if its bits depended on luck"""
    cases = "mode=ranked,input=(graded|needle|peaked),.*n_kv=(4096|5003|8192),.*eps=-1"
    assert run_ops(cases, ART_TEST_REPEAT="3").returncode == 0
    broken = run_ops(cases, ART_TEST_REPEAT="3", ART_TEST_BREAK=fault)
    noticed, passed = (sum(word in line for line in broken.stdout.splitlines() if "ART(" in line) for word in ("FAIL", "OK"))
    assert broken.returncode != 0 and noticed > passed
    assert ("run 3 of 3 gives another output" in broken.stdout) == (fault == "drift")
