"""Bad parameters are refused by every tool with the range in the message; none is ignored."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from art_local.building.presets import Preset

pytestmark = pytest.mark.built

TOOLS = {
    "llama-bench": ["-p", "0", "-n", "1", "-r", "1", "-fa", "on"],
    "llama-completion": ["-p", "hello", "-n", "1", "-c", "512", "-fa", "on", "-no-cnv"],
    "llama-server": ["-c", "512", "-fa", "on", "--port", "0"],
}
BAD = {
    "--art": ["sometimes"],
    "--art-eps": ["2", "-0.1", "nan"],
    "--art-tau": ["-1", "nan"],
    "--art-phi": ["-1"],
    "--art-patience": ["0", "-3"],
    "--art-sink": ["-1"],
    "--art-window": ["-1"],
}


def run(patched: Preset, tool: str, model: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [str(patched.program(tool)), "-m", str(model), *TOOLS[tool], *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, env={**os.environ, **environment})


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize(("flag", "value"), [(flag, value) for flag, values in BAD.items() for value in values])
def test_a_value_out_of_range_is_refused(patched: Preset, demo: Path, tool: str, flag: str, value: str) -> None:
    done = run(patched, tool, demo, "--art", "ranked", flag, value)
    said = done.stdout + done.stderr
    assert done.returncode != 0, said
    sentence = next((line for line in said.splitlines() if " must be " in line), "")
    assert "must be one of off" in sentence if flag == "--art" else " to " in sentence or "at least" in sentence, said[-400:]


@pytest.mark.parametrize("tool", TOOLS)
def test_the_environment_is_checked_like_the_flags(patched: Preset, demo: Path, tool: str) -> None:
    if tool == "llama-bench":
        pytest.skip("llama-bench reads no environment, as upstream")
    done = run(patched, tool, demo, LLAMA_ARG_ART="ranked", LLAMA_ARG_ART_EPS="7")
    assert done.returncode != 0 and "eps must be a number from 0 to 1" in done.stdout + done.stderr


@pytest.mark.parametrize(
    "arguments",
    [["--art", "ranked", "--art-window", "100000"], ["--art", "exact", "-fa", "off"], ["--art", "ranked", "-ctk", "q5_0", "-ctv", "q5_0"]],
)
def test_what_a_context_cannot_run_is_refused(patched: Preset, demo: Path, arguments: list[str]) -> None:
    done = run(patched, "llama-completion", demo, *arguments)
    said = done.stdout + done.stderr
    assert done.returncode != 0 and ("art mode" in said or "early termination" in said or "window" in said), said[-600:]


@pytest.mark.parametrize(
    ("arguments", "warning"),
    [
        (("--art-eps", "0.2"), "--art-eps has no effect without mode ranked"),
        (("--art", "ranked", "--art-eps", "0.2", "--art-layer-eps", ",".join(["0.1"] * 30)), "every layer has an eps of its own"),
        (("--art", "ranked", "--art-dense-layers", "99"), "leaves all 30 layers exact"),
        (("--art", "ranked", "--art-eps", "0.2"), None),
    ],
)
def test_what_has_no_effect_is_said(patched: Preset, demo: Path, arguments: tuple[str, ...], warning: str | None) -> None:
    done = run(patched, "llama-completion", demo, *arguments)
    said = [line for line in done.stderr.splitlines() if " W art: " in line]
    assert done.returncode == 0 and len(said) == (warning is not None), said
    assert not warning or warning in said[0]
