"""llama-server with mode ranked over what its slots go through: two at once, save, erase, restore, context shift."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from test_server import Server, serving

from art_local.building.presets import Preset
from art_local.eval.texts import prose

pytestmark = pytest.mark.built

# more cells than sink, window and first run together, so that something is left to skip
TEXTS = [prose(seed, 100) for seed in (3, 4)]
N_CTX = 2048


@pytest.fixture(scope="module")
def slots(patched: Preset, demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = str(tmp_path_factory.mktemp("slots"))
    arguments = ["-c", str(2 * N_CTX), "-np", "2", "--slot-save-path", folder, "--context-shift"]
    # small contexts read everything unless the test variable says otherwise
    kv = ["-ctk", "q8_0", "-ctv", "q8_0", "--art", "ranked", "--art-eps", "0.2"]
    with serving(patched, demo, *arguments, *kv, GGML_ART_MIN_CELLS="0") as server:
        yield server


def complete(server: Server, slot: int, **more: Any) -> dict[str, Any]:
    wanted = {"prompt": TEXTS[slot], "n_predict": 16, "id_slot": slot, "cache_prompt": True, "n_probs": 1, **more}
    code, answer = server.complete(**wanted)
    assert code == 200, answer
    return answer


def check(answer: dict[str, Any]) -> None:
    """All finite, and the counters those of one decode after another over the cells that are there."""
    assert all(math.isfinite(one["logprob"]) and one["logprob"] <= 0 for one in answer["completion_probabilities"])
    art = answer["timings"]["art"]
    assert art["mode"] == "ranked"
    assert 0 < art["keys_only"] < art["tiles_read"] <= art["tiles_total"]
    keys_and_values = art["read_share"] - art["keys_only"] / art["tiles_total"] / 2
    assert 0 < keys_and_values < art["byte_share"] < keys_and_values + 0.07, "records are at most 6 % of a q8_0 cache"


def slot_action(server: Server, slot: int, action: str) -> dict[str, Any]:
    code, text = server.ask(f"/slots/{slot}?action={action}", {"filename": f"slot{slot}.bin"})
    assert code == 200, text
    done: dict[str, Any] = json.loads(text)
    return done


def test_two_at_once(slots: Server) -> None:
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda slot: complete(slots, slot), (0, 1)))
    for answer in answers:
        check(answer)
    metrics = slots.ask("/metrics")[1]
    assert "art_tiles_read_total" in metrics


def test_what_was_saved_goes_on_the_same_after_a_restore(slots: Server) -> None:
    complete(slots, 0, n_predict=1)
    saved = slot_action(slots, 0, "save")
    assert saved["n_saved"] > 1100
    before = complete(slots, 0)
    check(before)
    slot_action(slots, 0, "erase")
    # other keys in the same cells, so that records left over from them would show
    complete(slots, 0, prompt=TEXTS[1][::-1][:2000], n_predict=1)
    assert slot_action(slots, 0, "restore")["n_restored"] == saved["n_saved"]
    after = complete(slots, 0)
    check(after)
    assert after["content"] == before["content"]
    assert after["timings"]["art"] == before["timings"]["art"], "the same tiles: the summaries are those of the restored cells"


def test_an_answer_that_shifts_the_context_goes_on(slots: Server) -> None:
    """Half of the cells go and the keys of the others are rotated; the next token reads on among new records."""
    tokens = json.loads(slots.ask("/tokenize", {"content": " ".join(TEXTS)})[1])["tokens"]
    answer = complete(slots, 1, prompt=tokens[: N_CTX - 16], n_predict=32, ignore_eos=True)
    check(answer)
    assert answer["truncated"] and answer["tokens_predicted"] == 32
    ops = answer["timings"]["art"]["ops"]
    assert ops >= 30 * 31, "every layer of every token, before the shift and after it"
    check(complete(slots, 1, prompt=tokens[: N_CTX - 512], n_predict=4))


def test_a_tolerance_of_zero_is_exact_after_a_restore(slots: Server) -> None:
    """The cells that a restore brings back are read like any others."""
    complete(slots, 0, n_predict=1)
    slot_action(slots, 0, "save")
    texts = []
    for asked in ({"art_mode": "exact"}, {"art_eps": 0.0}):
        slot_action(slots, 0, "restore")
        texts.append(complete(slots, 0, **asked)["content"])
    assert texts[0] == texts[1]
