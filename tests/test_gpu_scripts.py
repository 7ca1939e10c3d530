"""scripts/gpu: what runs where no test can follow it is at least called, and its judgement checked, here."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from art_local.bench.configuration import Plan
from art_local.bench.results import read
from art_local.building.presets import Preset
from art_local.checkout import ROOT
from art_local.eval.texts import prose
from art_local.model.locate import load_file

FOLDER = ROOT / "scripts" / "gpu"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec and spec.loader
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["build.sh", "measure.py", "pack.py", "prove.py", "registers.py", "shape_model.py"])
def test_help_says_how_to_call_it(name: str) -> None:
    command = ["bash"] if name.endswith(".sh") else [sys.executable]
    done = subprocess.run([*command, str(FOLDER / name), "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and name in done.stdout and not done.stderr


def test_a_forced_share_is_for_ranked_alone() -> None:
    """The stock twin does not know the flag."""
    for one in Plan((0,), ("exact", "ranked"), force=0.2, extra=("-t", "1")).configurations():
        line = " ".join(one.arguments("model.gguf", art=one.mode != "off"))
        assert ("--art-force 0.2" in line) == (one.mode == "ranked") and "-t 1" in line


# greedy tokens -------------------------------------------------------------------------------------------------------------


def answer(prove: ModuleType, tokens: list[int], gap: float = 0.0) -> object:
    return prove.Answer(tokens, [{token: -1.0, token + 1: -1.0 - gap} for token in tokens], {})


def test_the_same_tokens_pass() -> None:
    prove = script("prove")
    assert prove.judged(answer(prove, [5, 6, 7]), answer(prove, [5, 6, 7]), 0.2) == (True, "3 of 3 tokens the same")


@pytest.mark.parametrize(("gap", "passes"), [(0.05, True), (0.5, False)])
def test_a_difference_passes_where_the_reference_was_undecided(gap: float, passes: bool) -> None:
    prove = script("prove")
    verdict, how = prove.judged(answer(prove, [5, 6, 7], gap), answer(prove, [5, 7, 9]), 0.2)
    assert verdict is passes and how.startswith("1 of 3 tokens the same")


@pytest.mark.parametrize("other", [[], [5, 6], [5, 60, 7]])
def test_missing_or_far_tokens_fail(other: list[int]) -> None:
    prove = script("prove")
    assert not prove.judged(answer(prove, [5, 6, 7]), answer(prove, other), 0.2)[0]


# the op tests under it ---------------------------------------------------------------------------------------------------


@pytest.mark.built
def test_prove_on_the_cpu(patched: Preset, stock: Preset, demo: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(FOLDER / "prove.py"), str(tmp_path), str(demo), str(tmp_path / "out"), "--device", "CPU"]
    builds = ["--patched", str(patched.programs), "--stock", str(stock.programs)]
    done = subprocess.run([*command, *builds, "--steps", "ops,memcheck"], capture_output=True, text=True)
    verdicts = {
        line.split("|")[1].strip(): line.split("|")[2].strip() for line in (tmp_path / "out" / "summary.md").read_text().splitlines()
    }
    assert done.returncode == 0, done.stdout + done.stderr
    assert verdicts["ops"] == verdicts["ops, broken: stop"] == verdicts["ops, broken: stale"] == "pass"


@pytest.mark.built
def test_cpu_time_says_what_was_measured(patched: Preset, demo: Path, tmp_path: Path) -> None:
    script, text, out = ROOT / "scripts" / "decode_cpu_time.py", tmp_path / "text.txt", tmp_path / "out.jsonl"
    text.write_text(prose(1, 20))
    command = [sys.executable, str(script), str(demo), str(text), "--preset", patched.name, "--depths", "16,0"]
    out.write_text(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    head, *rows = read(out)
    assert head.get("facts", "model", "name") == demo.name and head.get("facts", "started") and head.get("facts", "machine", "cores")
    assert str(tmp_path) not in out.read_text()
    assert [(row.record["depth"], row.record["mode"]) for row in rows] == [(d, m) for d in (16, 0) for m in ("off", "exact", "ranked")]
    assert all(row.record["cpu_ms"] > 0 for row in rows)


# models of a shape -------------------------------------------------------------------------------------------------------


def test_a_shape_model_is_a_model(tmp_path: Path) -> None:
    shape = json.loads((ROOT / "art_local" / "shapes" / "llama-3.3-70b.json").read_text())
    wide, narrow = shape["metadata"]["llama.embedding_length"], 512
    less = lambda extents: [narrow if extent >= wide else extent for extent in extents]  # noqa: E731
    for group in ("tensors", "layer_tensors"):
        shape[group] = {name: less(extents) for name, extents in shape[group].items()}
    shape["layers"] = shape["metadata"]["llama.block_count"] = 2
    script("shape_model").write(shape, tmp_path / "small.gguf")
    header = load_file(tmp_path / "small.gguf")
    assert header.parameters > 1e6 and {tensor.type.name for tensor in header.tensors} == {"q4_K", "q6_K", "f32"}
