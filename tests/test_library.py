"""Python over the built library: the right commit, clear errors, and mode off equal to stock bit for bit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from art_local.building.presets import Preset

pytestmark = pytest.mark.built


def python(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A process of its own: one process can hold one library."""
    return subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True)


GREEDY = """
import hashlib, json, sys
from pathlib import Path
from art_local.building.presets import Preset
from art_local.library import Session, load
preset, model, kv, n_prompt = sys.argv[1:]
text = "The history of measurement begins with the human body. " * 420
with Session(load(Preset(preset)), Path(model), 4608, kv=kv, threads=2) as session:
    prompt = session.tokens(text)[: int(n_prompt)]
    digest, chosen = hashlib.sha256(), []
    logits = session.decode(prompt)
    for _ in range(256):
        digest.update(logits.tobytes())
        chosen.append(int(logits.argmax()))
        logits = session.decode(chosen[-1:])
print(json.dumps({"prompt": len(prompt), "tokens": chosen, "digest": digest.hexdigest()}))
"""


@pytest.mark.parametrize(("kv", "prompt"), [("q8_0", 4096), ("q4_0", 512), ("f16", 512)])
def test_mode_off_is_stock_bit_for_bit(patched: Preset, stock: Preset, demo: Path, kv: str, prompt: int) -> None:
    """A prefill, then 256 greedy tokens: the same tokens and the same logits to the last bit."""
    runs = [python(GREEDY, preset.name, str(demo), kv, str(prompt)) for preset in (patched, stock)]
    assert [run.returncode for run in runs] == [0, 0], runs[0].stderr + runs[1].stderr
    ours, theirs = (json.loads(run.stdout) for run in runs)
    assert ours["prompt"] == prompt and len(ours["tokens"]) == 256
    assert ours == theirs


OPEN = """
import sys
from pathlib import Path
from art_local.building.presets import Preset
from art_local.errors import UserError
from art_local.library import Session, load
try:
    with Session(load(Preset("cpu")), Path(sys.argv[1]), 256):
        print("opened")
except UserError as error:
    print("sentence:", error)
"""


def gguf(path: Path, architecture: str) -> Path:
    from gguf import GGUFWriter

    writer = GGUFWriter(path, architecture)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_model_of_an_unknown_architecture_is_one_sentence(patched: Preset, tmp_path: Path) -> None:
    done = python(OPEN, str(gguf(tmp_path / "new.gguf", "madeup")))
    assert done.stdout.startswith("sentence:") and "madeup" in done.stdout, done.stderr
    assert len(done.stdout.splitlines()) == 1


def test_garbage_and_truncated_models_are_one_sentence(patched: Preset, demo: Path, tmp_path: Path) -> None:
    garbage, cut = tmp_path / "garbage.gguf", tmp_path / "cut.gguf"
    garbage.write_bytes(b"no model" * 64)
    cut.write_bytes(demo.read_bytes()[:2_000_000])
    for file in (garbage, cut, tmp_path / "missing.gguf"):
        done = python(OPEN, str(file))
        assert done.stdout.startswith("sentence:"), done.stderr
        assert len(done.stdout.splitlines()) == 1 and "Traceback" not in done.stderr


CHECK = """
import sys
from art_local import library
from art_local.building.presets import Preset
from art_local.errors import UserError
from art_local.source.trees import Checkout
Checkout.recorded = lambda self: {"series": "another", "commit": "0123456789abcdef"}
try:
    library.load(Preset("cpu"))
except UserError as error:
    print(error)
"""


def test_a_build_of_another_commit_is_refused(patched: Preset) -> None:
    done = python(CHECK)
    assert "run 'art-local build' again" in done.stdout, done.stderr


def test_a_binding_of_another_version_is_refused(patched: Preset) -> None:
    done = python(CHECK.replace("Checkout.recorded = ", "library.version = lambda name: '0.0.1'\nChecked = "))
    assert "0.0.1" in done.stdout, done.stderr
