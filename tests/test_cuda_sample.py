"""What a block of CUDA threads draws is what the CPU draws: the kernels' own source, run by emulated threads."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

KERNELS = Path(__file__).parents[1] / "build" / "tree" / "ggml" / "src" / "ggml-cuda" / "fattn-art-kernel.cuh"
BEGIN, END = "// Chance of a candidate to be in the sample", "// Bitonic sort"


def run(folder: Path, source: str) -> subprocess.CompletedProcess[str]:
    (folder / "sample.inc").write_text(source)
    here, program = Path(__file__).parent, folder / "emulated_sample"
    flags = ["-std=c++20", "-O1", "-w", "-pthread", f"-I{folder}", f"-I{here}"]
    compiled = subprocess.run(["c++", *flags, str(here / "emulated_sample.cpp"), "-o", str(program)], capture_output=True, text=True)
    assert compiled.returncode == 0, compiled.stderr
    return subprocess.run([str(program)], capture_output=True, text=True, timeout=300)


@pytest.fixture
def source() -> str:
    if shutil.which("c++") is None:
        pytest.skip("needs a C++ compiler")
    text = KERNELS.read_text()
    constants = [line for line in text.splitlines() if line.startswith(("constexpr float POWER ", "constexpr float RANK_STEPS "))]
    assert len(constants) == 2
    return "\n".join(constants) + "\n" + text[text.index(BEGIN) : text.index(END)]


@pytest.mark.built
def test_a_block_draws_what_one_loop_draws(tmp_path: Path, source: str) -> None:
    done = run(tmp_path, source)
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith("132 cases, 0 wrong")


@pytest.mark.built
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("constexpr float POWER          = 1.5f", "constexpr float POWER          = 1.0f"),
        ("? total : below", "? below : total"),
        ("*per_step - 0.5f", "*per_step"),
    ],
)
def test_a_fault_shows(tmp_path: Path, source: str, right: str, wrong: str) -> None:
    assert source.count(right) == 1
    assert run(tmp_path, source.replace(right, wrong)).returncode != 0
