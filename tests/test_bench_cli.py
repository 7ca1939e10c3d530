"""The command as people type it, over stand-ins for the built programs; and once over the real ones."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bench_stand_in import fake_programs

from art_local import checkout
from art_local.bench.configuration import Plan
from art_local.bench.results import read
from art_local.bench.session import measure
from art_local.building.presets import Preset
from art_local.cli import app
from art_local.model.hollow import gguf, info
from art_local.tune import profile

Cli = Callable[..., "subprocess.CompletedProcess[str]"]

DRIVER = """
import sys
from pathlib import Path
from art_local.building import presets
from art_local.cli import app
presets.built = lambda name=None: presets.Preset(name or "cpu", Path({root!r}))
sys.exit(app.run(sys.argv[1:]))
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with both builds, and a model."""
    for name in ("cpu", "cpu-stock"):
        fake_programs(tmp_path / "build" / name / "bin", art=name == "cpu")
    head = gguf({"general.architecture": "llama", "llama.context_length": 8192}, [info("token_embd.weight", [32], 0, 0)])
    (tmp_path / "m.gguf").write_bytes(head + bytes(-len(head) % 32 + 128))
    monkeypatch.setattr("art_local.building.presets.built", lambda name=None: Preset(name or "cpu", tmp_path))
    monkeypatch.setenv("ART_LOCAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> int:
    return app.run(["bench", "m.gguf", *arguments])


def test_a_bench_from_end_to_end(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--ctx", "1k", "--rounds", "2", "--prompt", "0") == 0
    told = capsys.readouterr()
    assert "ranked" in told.out and "vs off" in told.out and "\x1b" not in told.out
    assert "the stock build (cpu-stock)" in told.out
    (file,) = (place / "results").iterdir()
    lines = read(file)
    assert {line.get("program") for line in lines if line.get("configuration", "mode") == "off"} == {"stock"}
    assert {line.get("program") for line in lines if line.get("configuration", "mode") != "off"} == {"patched"}
    assert lines[0].get("facts", "build", "commit") and lines[0].get("facts", "model", "trained_context") == 8192
    assert {line.get("configuration", "depth") for line in lines} == {0, 128, 256, 512, 960}


def test_json_is_one_object(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--depths", "64", "--rounds", "1", "--json", "--out", "r.jsonl") == 0
    found = json.loads(capsys.readouterr().out)
    assert {row["depth"] for row in found["rows"]} == {0, 64}, "an empty context is always measured: it tells the weights' time"
    row = next(row for row in found["rows"] if row["mode"] == "ranked" and row["depth"] == 64 and row["test"] == "tg64")
    assert row["read_share"] == 0.25 and row["tokens_per_second"] > 0 and row["device"] is None


def test_resume_goes_on_with_the_file(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--depths", "0", "--rounds", "1", "--out", "r.jsonl") == 0
    assert run("--depths", "0", "--rounds", "1", "--out", "r.jsonl") == 1
    assert "is there already" in capsys.readouterr().err
    assert run("--depths", "0", "--rounds", "2", "--out", "r.jsonl", "--resume") == 0
    assert {line.get("round") for line in read(Path("r.jsonl"))} == {0, 1}


def test_beyond_the_trained_context_it_warns(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--depths", "8k", "--rounds", "1", "--prompt", "0") == 0
    assert "warning: the model was trained for 8192 tokens, this bench goes to 8256" in capsys.readouterr().err
    assert run("--depths", "4k", "--rounds", "1", "--prompt", "0", "--out", "r.jsonl") == 0
    assert "trained" not in capsys.readouterr().err


def test_a_profile_of_the_model_is_used_and_said(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sha = hashlib.sha256((place / "m.gguf").read_bytes()).hexdigest()
    profile.write(
        profile.Profile("m.gguf", sha, "q8_0", 4096, 0.002, (0.0, 0.07, 0.2), series="another"), profile.default_path(sha, "q8_0")
    )
    assert run("--depths", "0", "--rounds", "1", "--prompt", "0", "--kv", "q8_0,q4_0", "--out", "r.jsonl") == 0
    told = capsys.readouterr()
    assert "ranked, KV q8_0: profile for m.gguf" in told.err and "ranked tuned" in told.out
    assert "The profile was measured with series another" in told.err
    commands = [" ".join(line.get("command")) for line in read(Path("r.jsonl")) if line.get("configuration", "mode") == "ranked"]
    assert ["--art-layer-eps 0,0.07,0.2" in command for command in commands] == ["-ctk q8_0" in command for command in commands]
    assert run("--depths", "0", "--rounds", "2", "--prompt", "0", "--kv", "q8_0,q4_0", "--out", "r.jsonl", "--resume") == 0
    assert len(read(Path("r.jsonl"))) == 2 * 2 * 3
    capsys.readouterr()
    for flags in (["--no-profile"], ["--eps", "0.1"], ["--modes", "exact"]):
        assert run("--depths", "0", "--rounds", "1", "--out", f"{flags[0]}.jsonl", *flags) == 0
        assert "profile" not in capsys.readouterr().err and "layer-eps" not in Path(f"{flags[0]}.jsonl").read_text()


def test_a_profile_that_cannot_be_used_is_said_and_left_out(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = profile.default_path(hashlib.sha256((place / "m.gguf").read_bytes()).hexdigest(), "q8_0")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('{"format": 1}')
    assert run("--depths", "0", "--rounds", "1", "--prompt", "0", "--out", "r.jsonl") == 0
    assert "profile of this model is left out" in capsys.readouterr().err
    assert "layer-eps" not in Path("r.jsonl").read_text()


def test_a_forced_share_is_an_option_of_its_own(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--depths", "0", "--rounds", "1", "--prompt", "0", "--force", "0.2", "--out", "r.jsonl") == 0
    assert "ranked forced to 20%" in capsys.readouterr().out


@pytest.mark.parametrize(
    "extra", ["--art-force 0.2", "-t 1 -m other.gguf", "-ctk f16", "-r 5", "--n-gen=7", "--cache_type_k f16", "-o json"]
)
def test_what_a_bench_says_itself_cannot_be_said_again(place: Path, extra: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--depths", "0", f"--extra={extra}", "--out", "s.jsonl") == 2
    assert "bench says that itself" in capsys.readouterr().err and not Path("s.jsonl").exists()


def test_nothing_measured_is_an_error(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("cpu", "cpu-stock"):
        fake_programs(place / "build" / name / "bin", signal=9)
    assert run("--depths", "0", "--rounds", "1", "--json") == 1
    assert all(row["failure"] in ("out of memory", "skipped") for row in json.loads(capsys.readouterr().out)["rows"])


def test_ctrl_c_keeps_what_is_done(place: Path) -> None:
    for name in ("cpu", "cpu-stock"):
        fake_programs(place / "build" / name / "bin", seconds=0.05)
    command = [
        sys.executable,
        "-c",
        DRIVER.format(root=str(place)),
        "bench",
        "m.gguf",
        "--depths",
        "0",
        "--rounds",
        "500",
        "--out",
        "r.jsonl",
    ]
    environment = {**os.environ, "PYTHONPATH": str(checkout.ROOT)}
    # a shell starts what it runs in the background deaf to Ctrl-C, and this test may run there
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=place, env=environment)
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        assert process.stderr is not None
        for _ in range(3):
            process.stderr.readline()
        process.send_signal(signal.SIGINT)
        try:
            out, err = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 130, err
    assert "go on with: " in err and "Traceback" not in err and "tokens/s" in out
    assert len(read(place / "r.jsonl")) >= 2


ODD: list[list[str]] = [
    ["--ctx", "0"],
    ["--ctx", "-5"],
    ["--ctx", "abc"],
    ["--ctx", "10"],
    ["--ctx", "99999999999999999999"],
    ["--depths", "1,x"],
    ["--depths", ""],
    ["--modes", "fast"],
    ["--kv", "q9"],
    ["--eps", "nan"],
    ["--parallel", "0"],
    ["--rounds", "0"],
    ["--reps", "x"],
    ["--generate", "0"],
    ["--extra", "'"],
    ["--resume"],
    ["--hf", "a/b"],
    ["--out", "/dev/null/r.jsonl"],
    ["--nonsense"],
]


@pytest.mark.parametrize("arguments", ODD, ids=" ".join)
def test_odd_arguments_get_a_sentence(place: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert run(*arguments) in (1, 2)
    told = capsys.readouterr()
    assert "Traceback" not in told.err and told.err.strip() and not list(place.glob("results/*"))


HEADERS: dict[str, bytes] = {
    "nothing": b"",
    "two letters": b"GG",
    "another format": b"PK\x03\x04" + bytes(64),
    "a version from the future": b"GGUF\xff\x00\x00\x00" + bytes(16),
    "big endian": b"GGUF\x00\x00\x00\x03" + bytes(16),
    "no tensors": gguf({"general.architecture": "llama"}),
    "more tensors than atoms": gguf({}, counts=(1 << 62, 0)),
    "negative counts": gguf({}, counts=(-1, -1)),
    "a string of 2 GB": b"GGUF" + struct.pack("<IqqQ", 3, 0, 1, 2 << 30),
    "cut in a name": gguf({"general.architecture": "llama"}, [info("token_embd.weight", [32], 0, 0)])[:-20],
    "data missing": gguf({"general.architecture": "llama"}, [info("token_embd.weight", [1 << 20], 0, 0)]),
    "a shape below nothing": gguf({"general.architecture": "llama"}, [info("token_embd.weight", [-32], 0, 0)]),
    "a name that is no text": gguf({b"\xff\xfe": 1}),
}


@pytest.mark.parametrize("content", HEADERS.values(), ids=HEADERS)
def test_odd_models_get_a_sentence(place: Path, capsys: pytest.CaptureFixture[str], content: bytes) -> None:
    (place / "m.gguf").write_bytes(content)
    assert run("--ctx", "1k") == 1
    told = capsys.readouterr()
    assert told.err.startswith("error: ") and told.err.count("\n") == 1 and not list(place.glob("results/*"))


def test_the_overview_starts_fast_and_imports_nothing_heavy() -> None:
    heavy = ("rich", "typer", "numpy", "httpx", "gguf")
    check = f"import sys; from art_local.cli import app; app.run(['--help']); print([m for m in {heavy} if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, cwd=checkout.ROOT).stdout
    assert "bench" in shown and shown.endswith("[]\n")
    assert min(processor_seconds([sys.executable, "-m", "art_local", "--help"]) for _ in range(5)) < 0.15


def processor_seconds(command: list[str]) -> float:
    """What the start costs on a machine that has nothing else to do."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=checkout.ROOT)
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0
    return usage.ru_utime + usage.ru_stime


@pytest.mark.built
def test_a_real_bench_of_a_real_model(demo: Path, patched: Preset, stock: Preset, tmp_path: Path) -> None:
    said: list[Any] = []
    plan = Plan((0, 64), ("exact", "ranked"), rounds=1, generate=4, reps=2, prompt=16)
    done = measure(demo, plan, tmp_path / "r.jsonl", preset="cpu", say=said.append)
    assert done.baseline == "the stock build (cpu-stock)" and not done.interrupted
    assert len([row for row in done.rows if row.key.mode == "off"]) == 4
    for row in done.rows:
        assert row.samples or row.failure in ("refused", "skipped"), row.sentence
        assert not row.samples or (len(row.samples) == 2 and row.host)
    line = read(tmp_path / "r.jsonl")[0]
    assert line.record["model_n_params"] > 1e8
    # 30 layers of 3 KV heads of 64, keys and values, in blocks of 32 that take 34 bytes
    assert line.get("facts", "model", "kv_bytes_per_token", "q8_0") == 30 * 3 * 64 * 2 * 34 / 32


@pytest.mark.built
def test_a_real_batch(demo: Path, patched: Preset, stock: Preset, tmp_path: Path) -> None:
    plan = Plan((0, 16), (), batches=(2,), rounds=1, generate=4)
    rows = measure(demo, plan, tmp_path / "r.jsonl", preset="cpu", say=lambda text: None).rows
    assert len(rows) == 2 and all(row.key.batch == 2 and row.samples for row in rows), rows[0].sentence
