"""Mode exact against stock: the same greedy tokens, and logits as near as the arithmetic of the library allows.

Roundings to 8 bits (activations before a matrix of quantized weights, Q and new cells of a quantized cache) turn a difference
in the last bit into one of a whole step, in stock as in ours: two runs of stock that only add in another order differ as much.
So the bound on logits is put where nothing rounds that coarsely: weights expanded to F16, an f16 cache, and stock without flash
attention, which sums in f32. Stock's own flash attention sums the values of an f16 cache in f16: it is further away than exact.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from art_local.building.presets import Preset

pytestmark = pytest.mark.built

DECODE = """
import sys
from pathlib import Path
import numpy as np
from art_local import art
from art_local.building.presets import Preset
from art_local.library import Session, load
mode, model, kv, prompt, batch, count, given, out = sys.argv[1:]
preset = Preset("cpu" if mode == "exact" else "cpu-stock")
text = "The history of measurement begins with the human body. " * 100
with Session(load(preset), Path(model), 1024, kv, int(batch), threads=2, flash_attention=mode != "f32 sums") as session:
    rows = [session.decode(session.tokens(text)[: int(prompt)])]
    if mode == "exact":
        art.apply(session.llama, session.context, art.ArtParams(mode="exact"))
    for number in range(int(count)):
        token = np.load(given)["tokens"][number] if given else rows[-1].argmax()
        rows.append(session.decode([int(token)]))
    if mode == "exact":
        counted = art.counters(session.llama, session.context)
        assert counted.read_share == 1 and counted.fallbacks == 0 and counted.total("ops") > 0, counted
np.savez(out, logits=np.array(rows[1:]), tokens=[int(row.argmax()) for row in rows])
"""

EXPAND = """
import ctypes, sys
from art_local.building.presets import Preset
from art_local.library import load
llama = load(Preset("cpu-stock"))
parameters = llama.llama_model_quantize_default_params()
parameters.ftype, parameters.allow_requantize, parameters.nthread = 1, True, 2
assert llama.llama_model_quantize(sys.argv[1].encode(), sys.argv[2].encode(), ctypes.byref(parameters)) == 0
"""


def python(script: str, *arguments: str) -> None:
    """A process of its own: one process can hold one library."""
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


class Runs:
    """Logits along the tokens that stock chooses."""

    def __init__(self, folder: Path, model: Path, kv: str, prompt: int, count: int) -> None:
        self.folder, self.fixed, self.count = folder, (str(model), kv, str(prompt)), str(count)
        self.run("stock", given="")

    def run(self, mode: str, batch: int = 512, given: str | None = None) -> NDArray[np.float64]:
        first, out = self.folder / "stock-512.npz", self.folder / f"{mode}-{batch}.npz"
        python(DECODE, mode, *self.fixed, str(batch), self.count, str(first) if given is None else given, str(out))
        return np.asarray(np.load(out)["logits"], dtype=np.float64)

    @property
    def stock(self) -> NDArray[np.float64]:
        return np.asarray(np.load(self.folder / "stock-512.npz")["logits"], dtype=np.float64)


def nmse(found: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    return float(((found - expected) ** 2).sum() / (expected**2).sum())


@pytest.fixture(scope="module")
def expanded(patched: Preset, stock: Preset, demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("expanded") / "f16.gguf"
    python(EXPAND, str(demo), str(path))
    return path


@pytest.mark.parametrize("kv", ["q8_0", "q4_0", "f16"])
def test_the_same_greedy_tokens_as_stock(patched: Preset, stock: Preset, demo: Path, tmp_path: Path, kv: str) -> None:
    runs = Runs(tmp_path, demo, kv, prompt=512, count=256)
    exact = runs.run("exact")
    assert exact.argmax(axis=1).tolist() == runs.stock.argmax(axis=1).tolist()


def test_logits_are_those_of_stock_that_sums_in_f32(expanded: Path, tmp_path: Path) -> None:
    runs = Runs(tmp_path, expanded, "f16", prompt=512, count=64)
    exact, arbiter = runs.run("exact"), runs.run("f32 sums")
    assert nmse(exact, arbiter) < 1e-5
    assert nmse(exact, arbiter) < nmse(runs.stock, arbiter), "stock's flash attention sums in f16"


def test_on_a_quantized_cache_exact_is_no_further_from_stock_than_stock_from_itself(expanded: Path, tmp_path: Path) -> None:
    """Stock reads the prompt token by token instead of in batches: the same sums in another order."""
    runs = Runs(tmp_path, expanded, "q8_0", prompt=256, count=128)
    exact, again = runs.run("exact"), runs.run("stock", batch=1)
    assert 0 < nmse(exact, runs.stock) < 3 * nmse(again, runs.stock) < 3e-3
