"""A model on devices that run the CUDA kernels: all of it, half of it, its KV cache left on the host, two devices. Emulated ones, as in
test_cuda_emulated.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from art_local.building.presets import Preset

pytestmark = pytest.mark.built

DECODE = """
import ctypes, json, sys
from pathlib import Path
from art_local import art
from art_local.building.presets import Preset
from art_local.library import Session, load
model, device, layers, kv_on_device, count = sys.argv[1:]
preset = Preset("cpu")
llama = load(preset)
if device:
    ggml = ctypes.CDLL(str(preset.programs / "libggml.so"))
    ggml.ggml_backend_load.restype = ctypes.c_void_p
    assert ggml.ggml_backend_load(device.encode())
defaults = llama.llama_context_default_params
def with_place():
    parameters = defaults()
    parameters.offload_kqv = kv_on_device == "True"
    return parameters
llama.llama_context_default_params = with_place
text = " ".join(f"On day {n} the ship made {n * 37 % 101} miles and the cook lost {n * 13 % 17} spoons." for n in range(110))
out = {}
with Session(llama, Path(model), 2048, "q8_0", 512, int(layers), threads=1) as session:
    prompt = session.tokens(text)[:1900]
    first = int(session.decode(prompt).argmax())
    for mode in ("exact", "ranked"):
        art.apply(llama, session.context, art.ArtParams(mode=mode))
        art.library(llama).llama_art_reset_counters(session.context)
        tokens = [first]
        for _ in range(int(count)):
            tokens.append(int(session.decode(tokens[-1:]).argmax()))
        counted = art.counters(llama, session.context)
        out[mode] = dict(tokens=tokens, share=counted.read_share, ops=counted.total("ops"), fallbacks=counted.fallbacks)
        out[mode]["wrong"] = art.library(llama).llama_art_verify_summaries(session.context) if mode == "ranked" else 0
        assert session.forget(len(prompt))
print(json.dumps(out))
"""
COUNT = 4


def decoded(demo: Path, device: Path | str, layers: int, kv_on_device: bool = True, devices: int = 1) -> Any:
    arguments = [str(demo), str(device), str(layers), str(kv_on_device), str(COUNT)]
    environment = {**os.environ, "GGML_ART_MIN_CELLS": "0", "EMULATED_DEVICES": str(devices)}
    done = subprocess.run([sys.executable, "-c", DECODE, *arguments], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def on_the_cpu(patched: Preset, demo: Path) -> Any:
    return decoded(demo, "", 0)


@pytest.mark.parametrize(
    ("layers", "kv_on_device", "devices"),
    [
        pytest.param(999, True, 1, id="all"),
        pytest.param(15, True, 1, id="half"),
        pytest.param(999, False, 1, id="KV on the host"),
        pytest.param(999, True, 2, id="two devices"),
    ],
)
def test_decodes_as_on_the_cpu(emulated_device: Path, demo: Path, on_the_cpu: Any, layers: int, kv_on_device: bool, devices: int) -> None:
    here = decoded(demo, emulated_device, layers, kv_on_device, devices)
    for mode in ("exact", "ranked"):
        assert here[mode]["tokens"] == on_the_cpu[mode]["tokens"]
        assert here[mode]["ops"] == on_the_cpu[mode]["ops"] and here[mode]["fallbacks"] == 0
    assert here["exact"]["share"] == 1
    assert on_the_cpu["ranked"]["share"] < 0.9
    assert abs(here["ranked"]["share"] - on_the_cpu["ranked"]["share"]) < 0.02
    assert here["ranked"]["wrong"] == 0
