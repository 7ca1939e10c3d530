"""scripts/gpu: what runs where no test can follow it is at least called, and its judgement checked, here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from conftest import script

from art_local.bench.configuration import Plan
from art_local.bench.results import read
from art_local.bench.session import Measured
from art_local.bench.summary import Key, Row
from art_local.building.presets import Preset
from art_local.checkout import ROOT
from art_local.errors import UsageError, UserError
from art_local.eval.texts import prose
from art_local.model.locate import load_file

FOLDER = ROOT / "scripts" / "gpu"


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


def test_a_bench_needs_no_packages() -> None:
    """A lent machine has Python alone."""
    code = "import sys; sys.modules.update(dict.fromkeys(('numpy', 'typer', 'httpx', 'rich'))); import art_local.bench.session"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def row(speed: float | None) -> Row:
    return Row(Key("m", "off", "q8_0", 0, 1, None, "tg48"), {0: [speed]} if speed else {}, failure=None if speed else "out of memory")


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Measured(Path("o"), [row(5.0), row(None)], "", False), 0),
        (Measured(Path("o"), [row(None)], "", False), 1),
        (Measured(Path("o"), [row(5.0)], "", True), 130),
        (UserError("The results there are of another model."), 1),
        (UsageError("There is no such flag."), 2),
    ],
)
def test_how_a_measurement_ended_is_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: Measured | UserError, code: int
) -> None:
    def measured(*given: object, **options: object) -> Measured:
        if isinstance(answer, UserError):
            raise answer
        return answer

    measure = script("measure")
    monkeypatch.setattr(measure, "unpack", lambda packed, work: ROOT)
    monkeypatch.setattr("art_local.bench.session.measure", measured)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", ["measure.py", "packed", "work", "m.gguf", "out.jsonl"])
    assert measure.main() == code
    said = capsys.readouterr().err
    assert said == (f"error: {answer}\n" if isinstance(answer, UserError) else "")
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--depths", "x"])
    assert measure.main() == 2


def test_a_folder_without_a_package_is_a_sentence(tmp_path: Path) -> None:
    command = [sys.executable, str(FOLDER / "measure.py"), str(tmp_path), str(tmp_path / "work"), "m.gguf", "out.jsonl"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and "is no folder of pack.py" in done.stderr and done.stderr.count("\n") == 1


def test_cpu_time_of_nothing_is_a_sentence() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "decode_cpu_time.py"), "absent.gguf", "absent.txt"]
    for odd, code in (["--depths", "x"], 2), (["--preset", "absent"], 1):
        done = subprocess.run([*command, *odd], capture_output=True, text=True)
        assert done.returncode == code and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr


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


def test_an_answer_without_probabilities_stops_no_other_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prove = script("prove")
    bare = lambda tokens: prove.Answer(tokens, [], {"ops": 1})  # noqa: E731
    monkeypatch.setattr(prove, "layer_count", lambda model: 2)
    monkeypatch.setattr(prove, "device_count", lambda server: 1)
    stocks = iter([[5], [6], [7]])
    chosen = SimpleNamespace(out=tmp_path, patched=tmp_path, stock=tmp_path, model=tmp_path, gap=0.2)
    proof = prove.Proof(chosen)
    proof.answers = lambda flags, log: (bare(next(stocks)), {"exact": bare([9]), "ranked": bare([9])})
    found = {one.step: (one.passed, one.what) for one in proof.greedy()}
    for place in ("whole model", "half the layers", "KV on the host"):
        passed, what = found[f"greedy, {place}: exact against stock"]
        assert not passed and "the reference has no probabilities" in what
        assert found[f"greedy, {place}: ranked"][0]


# the op tests under it ---------------------------------------------------------------------------------------------------


def program(path: Path, lines: list[str], status: int) -> None:
    """One that prints lines, for whatever is asked of it, and ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", *(f"echo '{line}'" for line in lines), f"exit {status}", ""]))
    path.chmod(0o755)


def proven(folder: Path, steps: str) -> dict[str, tuple[str, str]]:
    """Verdict and words of each step, with the stand-ins of the folder."""
    place = [str(folder), "no.gguf", str(folder / "out"), "--patched", str(folder / "bin"), "--device", "CPU"]
    command = [sys.executable, str(FOLDER / "prove.py"), *place, "--steps", steps]
    search = f"{folder / 'path'}{os.pathsep}/usr/bin{os.pathsep}/bin"
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PATH": search})
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in (folder / "out" / "summary.md").read_text().splitlines()[2:]]
    assert (done.returncode == 1) == any(verdict == "FAIL" for _, verdict, _, _ in rows), done.stderr
    return {step: (verdict, words) for step, verdict, _, words in rows}


CASE = "  ART(mode=ranked,input=peaked): "
SANITIZED = [
    (0, ["========= ERROR SUMMARY: 0 errors"], "pass"),
    (0, ["========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)"], "pass"),
    (99, ["========= Invalid __global__ read of size 4 bytes", "========= ERROR SUMMARY: 3 errors"], "FAIL"),
    (0, ["========= ERROR SUMMARY: 3 errors"], "FAIL"),
    (0, ["========= RACECHECK SUMMARY: 1 hazard displayed (1 error, 0 warnings)"], "FAIL"),
    (0, [], "FAIL"),
]


@pytest.mark.parametrize(("status", "lines", "verdict"), SANITIZED)
def test_a_sanitizers_summary_is_believed(tmp_path: Path, status: int, lines: list[str], verdict: str) -> None:
    program(tmp_path / "path" / "compute-sanitizer", [CASE + "OK", *lines], status)
    last = lines[-1].strip("= ") if lines else "no summary"
    assert proven(tmp_path, "memcheck")["memcheck"] == (verdict, f"{last}; 1 OK" + (", exit status 99" if status else ""))


def test_a_sanitizer_that_saw_no_case_proves_nothing(tmp_path: Path) -> None:
    program(tmp_path / "path" / "compute-sanitizer", ["========= ERROR SUMMARY: 0 errors"], 0)
    assert proven(tmp_path, "memcheck")["memcheck"][0] == "FAIL"
    (tmp_path / "path" / "compute-sanitizer").unlink()
    assert proven(tmp_path, "memcheck")["memcheck"] == ("not run", "compute-sanitizer is not here")


@pytest.mark.parametrize(("noticing", "verdict"), [(1, "FAIL"), (2, "FAIL"), (3, "pass")])
def test_a_planted_fault_is_for_most_cases_to_notice(tmp_path: Path, noticing: int, verdict: str) -> None:
    lines = [CASE + "FAIL"] * noticing + [CASE + "OK"] * (4 - noticing) + [CASE + "not supported"] * 9
    program(tmp_path / "bin" / "test-backend-ops", lines, 1)
    found = proven(tmp_path, "ops")
    assert [found[f"ops, broken: {fault}"] for fault in ("stop", "stale", "drift")] == [(verdict, f"{noticing} of 4 cases notice")] * 3


@pytest.mark.built
def test_prove_on_the_cpu(patched: Preset, stock: Preset, demo: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(FOLDER / "prove.py"), str(tmp_path), str(demo), str(tmp_path / "out"), "--device", "CPU"]
    builds = ["--patched", str(patched.programs), "--stock", str(stock.programs)]
    done = subprocess.run([*command, *builds, "--steps", "ops,memcheck"], capture_output=True, text=True)
    verdicts = {
        line.split("|")[1].strip(): line.split("|")[2].strip() for line in (tmp_path / "out" / "summary.md").read_text().splitlines()
    }
    assert done.returncode == 0, done.stdout + done.stderr
    assert verdicts["ops"] == "pass" and all(verdicts[f"ops, broken: {fault}"] == "pass" for fault in ("stop", "stale", "drift"))


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
