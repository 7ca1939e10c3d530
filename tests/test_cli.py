"""What every command owes its user: help with an example, one sentence on bad input, a meaningful exit code."""

from __future__ import annotations

import io
import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from art_local import checkout
from art_local.cli.app import COMMANDS
from art_local.cli.console import Output, grid

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
    short = run_cli(*command.split(), "-h", PYTHONIOENCODING="ascii")
    assert short.returncode == 0 and short.stdout == done.stdout, short.stderr


def test_an_unknown_command_suggests_one(run_cli: Cli) -> None:
    done = run_cli("dotcor")
    assert done.returncode == 2
    assert "did you mean 'doctor'" in done.stderr


WRONG = {
    2: ["build --preset no", "patches", "patches x", "bench --nonsense", "bench m --rounds 0", "plan m --ctx 3m", "report"],
    1: ["patches rebase no-such-revision", "inspect no-such-file.gguf", "compare no-such-file.jsonl", "plan no-such-file.gguf"],
}


@pytest.mark.parametrize(("code", "arguments"), [(code, line) for code, lines in WRONG.items() for line in lines])
def test_what_is_wrongly_asked_is_2_and_what_fails_is_1_in_one_sentence(run_cli: Cli, code: int, arguments: str) -> None:
    done = run_cli(*arguments.split())
    assert done.returncode == code
    assert done.stderr.startswith("error: ") and "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and not done.stdout


def test_exit_codes_are_told(run_cli: Cli) -> None:
    assert "Exit codes: 0 done, 1 it could not be done, 2 wrongly asked, 130 interrupted." in run_cli("--help").stdout


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


@pytest.mark.parametrize("closed", ["1", "2"])
def test_a_closed_stream_is_no_traceback(closed: str) -> None:
    for command in ("--help", "doctor", "inspect llama-3.1-8b"):
        shell = f"{shlex.quote(sys.executable)} -m art_local {command} {closed}>&-"
        done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, cwd=checkout.ROOT)
        assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr


def test_an_ascii_terminal_gets_all_that_it_can_show(run_cli: Cli, tmp_path: Path) -> None:
    line = json.dumps({"n_gen": 64, "n_depth": 0, "avg_ts": 1.0, "samples_ts": [1.0, 1.2], "type_k": "f16", "model_type": "m\u00fc"})
    (tmp_path / "a.jsonl").write_text(line + "\n" + line.replace("0,", "64,") + "\n")
    done = run_cli("report", str(tmp_path / "a.jsonl"), PYTHONIOENCODING="ascii", LC_ALL="C")
    assert done.returncode == 0 and done.stdout.startswith("page"), done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_behind_the_output_is_one_sentence() -> None:
    done = subprocess.run(["bash", "-c", f"{shlex.quote(sys.executable)} -m art_local --help > /dev/full"], capture_output=True, text=True)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


MEASURED = "docs/results/2026-11-21-h200-llama-8b-shape.jsonl"


def test_in_a_pipe_nothing_is_cut_whatever_columns_says(run_cli: Cli) -> None:
    for command in (f"compare {MEASURED}", "inspect gpt-oss-20b", "plan llama-3.3-70b:Q4_K_S --gpu 3090", "patches status"):
        wide, narrow = (run_cli(*command.split(), COLUMNS=columns) for columns in ("500", "30"))
        assert wide.returncode == 0 and wide.stdout == narrow.stdout and "\u2026" not in wide.stdout
    assert " 3.218 to 3.410         faster" in run_cli(*f"compare {MEASURED}".split()).stdout


def test_a_narrow_terminal_gets_all_columns_in_two_tables() -> None:
    headings, rows = ["name", *(f"column {number}" for number in range(9))], [["x" * 20, *map(str, range(9))], ["y", *"abcdefghi"]]
    for width in (10, 40, 80, 120):
        lines = list(grid(headings, rows, left=(0,), key=1, width=width))
        assert all(len(line) <= max(width, 32) for line in lines)
        assert sum(line.startswith("x" * 20) for line in lines) == sum(line.startswith("name") for line in lines)
        text = " ".join(lines)
        assert all(cell in text for cell in [*headings, *rows[0], *rows[1]])
    assert len(list(grid(headings, rows, left=(0,), key=1, width=200))) == 4


def test_a_narrow_terminal_indents_what_goes_on() -> None:
    for width, expected in ((30, ["name  one two three four five", "      six"]), (80, ["name  one two three four five six"])):
        out = Output(file=io.StringIO(), width=width)
        out.paragraph("name  one two three four five six", hang=6)
        assert out.file.getvalue().splitlines() == expected  # type: ignore[attr-defined]
