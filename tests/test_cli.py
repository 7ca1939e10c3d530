"""What every command owes its user: help with an example, one sentence on bad input, a meaningful exit code."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from art_local import checkout
from art_local.cli.app import COMMANDS

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


def test_the_overview_lists_every_command(run_cli: Cli) -> None:
    done = run_cli("--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in COMMANDS)
    assert run_cli().stdout == done.stdout


@pytest.mark.parametrize("command", [*COMMANDS, *[f"patches {name}" for name in ("status", "apply", "export", "verify", "rebase")]])
def test_help_has_an_example(run_cli: Cli, command: str) -> None:
    done = run_cli(*command.split(), "--help")
    assert done.returncode == 0, done.stderr
    assert "Example" in done.stdout and "art-local" in done.stdout


def test_an_unknown_command_suggests_one(run_cli: Cli) -> None:
    done = run_cli("dotcor")
    assert done.returncode == 2
    assert "did you mean 'doctor'" in done.stderr


@pytest.mark.parametrize("arguments", [["build", "--preset", "none"], ["patches", "rebase", "no-such-revision"]])
def test_bad_input_is_one_sentence(run_cli: Cli, arguments: list[str]) -> None:
    done = run_cli(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_doctor_as_json(run_cli: Cli) -> None:
    done = run_cli("doctor", "--json")
    found = json.loads(done.stdout)
    assert found["preset"] in ("cpu", "cuda", "metal")
    assert found["machine"]["cores"] >= 1
    assert done.returncode == (0 if found["ready"] else 1)


def test_doctor_says_what_is_missing(run_cli: Cli, tmp_path: Path) -> None:
    done = run_cli("doctor", CXX="no-such-compiler")
    assert done.returncode == 1
    assert "missing: " in done.stdout


BAD_MODELS = {
    "missing.gguf": None,
    "empty.gguf": b"",
    "garbage.gguf": b"this is no model at all" * 100,
    "truncated.gguf": b"GGUF\x03\x00\x00\x00\xff\x00\x00\x00\x00\x00\x00\x00\x01",
    "header.gguf": b"GGUF",
}


@pytest.mark.parametrize("name", [*BAD_MODELS, "folder"])
def test_bench_refuses_what_is_no_model(run_cli: Cli, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "folder":
        path.mkdir()
    elif (content := BAD_MODELS[name]) is not None:
        path.write_bytes(content)
    done = run_cli("bench", str(path), "--ctx", "1024")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr and done.stderr.startswith("error: ")
    assert name in done.stderr and "built" not in done.stderr


@pytest.mark.parametrize("command", ["--help", "doctor", "patches status"])
def test_a_reader_that_leaves_early_is_no_error(command: str) -> None:
    shell = f"{shlex.quote(sys.executable)} -m art_local {command} | head -c 5 > /dev/null; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, cwd=checkout.ROOT)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_behind_the_output_is_one_sentence() -> None:
    done = subprocess.run(["bash", "-c", f"{shlex.quote(sys.executable)} -m art_local --help > /dev/full"], capture_output=True, text=True)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
