"""The numpy side: the state of the library is read right, and every policy keeps what the method it stands for would keep."""

from __future__ import annotations

import struct
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from eval_stand_in import SHAPE, tiny

from art_local.errors import UserError
from art_local.eval import session, transformer
from art_local.eval.policies import POLICIES, SINK, TILE, WINDOW, Reading, View
from art_local.eval.reference_decoder import ROOM
from art_local.eval.setting import Setting
from art_local.eval.transformer import Array, cells, full

CELLS, PROMPT = 520, 512


def state(keys: Array, values: Array, kind: int = 1, transposed: int = 0) -> np.ndarray:
    """As the library writes it: head, cells, then all keys and all values, a row for each cell."""
    layers, _, count, _ = keys.shape
    parts = [struct.pack("<IiII", 0xABCD, 0, 1, count)]
    parts += [struct.pack("<iIi", position, 1, 0) for position in range(count)]
    parts.append(struct.pack("<II", transposed, layers))
    for tensor in (keys, values):
        for layer in tensor:
            rows = layer.transpose(1, 0, 2).reshape(count, -1).astype(np.float16)
            parts.append(struct.pack("<iQ", kind, rows.shape[1] * 2) + rows.tobytes())
    return np.frombuffer(b"".join(parts), dtype=np.uint8)


def random(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_a_saved_state_is_read_back() -> None:
    keys, values = (random(SHAPE.layers, SHAPE.kv_heads, 9, SHAPE.size, seed=seed) for seed in (1, 2))
    found = cells(state(keys, values), SHAPE)
    assert np.allclose(found[0], keys, atol=1e-2) and np.allclose(found[1], values, atol=1e-2)


def test_a_state_of_another_form_is_refused() -> None:
    keys = random(SHAPE.layers, SHAPE.kv_heads, 3, SHAPE.size)
    for wrong in (state(keys, keys, kind=8), state(keys, keys, transposed=1), state(keys[:1], keys[:1])):
        with pytest.raises(UserError, match="numpy reference reads"):
            cells(wrong, SHAPE)


def test_decoding_does_not_depend_on_how_the_prompt_was_read() -> None:
    one, other = tiny(), tiny()
    empty = np.zeros((SHAPE.layers, SHAPE.kv_heads, 0, SHAPE.size), dtype=np.float32)
    one.fill(empty, None, 40)
    for token in range(20):
        last = one.step(token, full)
    other.fill(one.keys[:, :, :19], one.values[:, :, :19], 4)
    assert np.allclose(other.step(19, full), last, atol=1e-4)
    assert np.allclose(other.step(19, full, position=19), last, atol=1e-4), "a cell that is there is not written again"
    assert other.length == 20


def test_more_positions_than_a_question_takes_have_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """The decoder that an evaluation opens, around stand-ins for the library and the weights."""

    class Library:
        def __init__(self, session: object, prefills: object = None) -> None:
            self.state = state(*(np.zeros((SHAPE.layers, SHAPE.kv_heads, 1, SHAPE.size), dtype=np.float32) for _ in range(2)))

        def prefill(self, tokens: list[int], watch: object = None) -> None:
            pass

    monkeypatch.setattr(session, "LibraryDecoder", Library)
    monkeypatch.setattr(session, "Session", lambda *_, **__: nullcontext())
    monkeypatch.setattr(transformer, "read", lambda path: tiny())
    opener = session.Opener(None, Path("tiny.gguf"), 64, False, 1, decoded=ROOM + 6, layers=1)  # type: ignore[arg-type]
    with opener.reference() as decoder:
        decoder.prefill([1])
        decoder.start(Setting(policy="numpy exact"))
        for _ in range(ROOM + 6):
            decoder.step(1)


def view(budget: float, seed: int = 3) -> View:
    q, keys = random(2, 3, 16, seed=seed), random(2, CELLS, 16, seed=seed + 1)
    observed = np.abs(random(2, PROMPT, seed=seed + 2))
    return View(q, keys, q @ keys.swapaxes(1, 2), PROMPT, observed, {}, budget)


@pytest.mark.parametrize("name", [name for name in POLICIES if name != "numpy exact"])
@pytest.mark.parametrize("budget", [0.0, 0.1, 0.25, 0.5, 1.0])
def test_a_policy_keeps_its_budget_and_the_newest_cells(name: str, budget: float) -> None:
    one = view(budget)
    keep = POLICIES[name].keep(one)
    assert keep.shape == (2, CELLS) and keep[:, PROMPT:].all()
    least = (SINK + WINDOW + CELLS - PROMPT) / CELLS
    assert abs(keep.mean() - max(budget, least)) < 0.04


def test_everything_is_exact() -> None:
    q, keys, values = random(2, 3, 16), random(2, CELLS, 16), random(2, CELLS, 16, seed=9)
    reading = Reading(POLICIES["numpy exact"], 1.0, PROMPT)
    assert np.allclose(reading(0, q, keys, values), full(0, q, keys, values), atol=1e-6)
    assert reading.read_share == reading.byte_share == 1.0


def test_the_bound_and_the_oracle_find_a_needle_that_a_window_loses() -> None:
    q, keys, values = random(1, 2, 16), 0.1 * random(1, CELLS, 16, seed=5), random(1, CELLS, 16, seed=6)
    keys[0, 200] = 8 * q[0, 0]
    exact = full(0, q, keys, values)[0, 0]
    lost = {}
    for name in ("sink and window", "min-max bound (Quest-like)", "oracle", "worst tiles (test)"):
        lost[name] = float(np.linalg.norm(Reading(POLICIES[name], 0.25, PROMPT)(0, q, keys, values)[0, 0] - exact))
    assert lost["oracle"] < 1e-3 and lost["min-max bound (Quest-like)"] < 1e-3
    assert lost["sink and window"] > 0.5 and lost["worst tiles (test)"] > 0.5


def test_what_was_chosen_once_does_not_see_a_later_question() -> None:
    one = view(0.25)
    assert one.observed is not None
    one.observed[:] = 0
    one.observed[:, :80] = 0.5
    one.observed[:, 100] = 1
    one.observed[:, 120:140] = 0.1
    one.scores[:, :, 300] = 50
    keep = POLICIES["chosen once (SnapKV-like)"].keep(one)
    assert keep[:, 100].all() and keep[:, 97:104].all(), "neighbours are pooled"
    assert not keep[:, 300].any()
    assert POLICIES["oracle"].keep(one)[:, 300].all()


def test_bytes_are_counted_as_the_method_reads_them() -> None:
    assert POLICIES["value skip"].byte_share(0.2) == pytest.approx(0.6)
    assert POLICIES["min-max bound (Quest-like)"].byte_share(0.2) == pytest.approx(0.2 + 1 / TILE)
    assert POLICIES["sink and window"].byte_share(0.2) == pytest.approx(0.2)
