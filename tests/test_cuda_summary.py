"""Frames, records and framed queries of the CUDA kernels are those of the CPU: the kernels' own source, run by emulated threads."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from art_local.building.presets import Preset

TREE = Path(__file__).parents[1] / "build" / "tree" / "ggml"
KERNELS = TREE / "src" / "ggml-cuda" / "fattn-art-kernel.cuh"
PARTS = [
    ("// Channels as 8-bit integers", "// 32 channels, 4 to a lane"),
    ("__device__ __forceinline__ float size_of_contrast", "// four bits as four bytes"),
    ("// channel of a frame", "// one warp: the first tile after"),
    ("__device__ __forceinline__ float load_key", "// host side: which kernel"),
]
CONSTANTS = ("LOG2E", "MEASURED", "LEAST_SIZE", "CONTRASTS")


def run(folder: Path, source: str) -> subprocess.CompletedProcess[str]:
    (folder / "summary.inc").write_text(source)
    here, program, libraries = Path(__file__).parent, folder / "emulated_summary", Preset("cpu").program("test-backend-ops").parent
    flags = ["-std=c++20", "-O1", "-w", "-pthread", f"-I{folder}", f"-I{here}", f"-I{TREE}/include", f"-I{TREE}/src"]
    link = [f"-L{libraries}", "-lggml-base", f"-Wl,-rpath,{libraries}"]
    compiled = subprocess.run(
        ["c++", *flags, str(here / "emulated_summary.cpp"), "-o", str(program), *link], capture_output=True, text=True
    )
    assert compiled.returncode == 0, compiled.stderr
    return subprocess.run([str(program)], capture_output=True, text=True, timeout=600)


@pytest.fixture
def source() -> str:
    if shutil.which("c++") is None:
        pytest.skip("needs a C++ compiler")
    text = KERNELS.read_text()
    constants = [line for line in text.splitlines() if line.startswith("constexpr ") and line.split("=")[0].split()[-1] in CONSTANTS]
    assert len(constants) == len(CONSTANTS) and sum("= 256;" in line for line in constants) == 1
    constants = [line.replace("= 256;", "= 2;") for line in constants]  # so that few tiles are too many to measure all
    return "\n".join(constants + [text[text.index(begin) : text.index(end, text.index(begin))] for begin, end in PARTS])


@pytest.mark.built
def test_blocks_make_what_the_cpu_makes(tmp_path: Path, source: str) -> None:
    done = run(tmp_path, source)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == "20 cases, 0 wrong\n"


@pytest.mark.built
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("y[i] = all[i][threadIdx.x ^ h]", "y[i] = all[i][threadIdx.x]"),
        ("__fsub_rn(x[i], channel.offset)", "x[i]"),
        ("x[i] *= frame_channel(frame, D, lane + 32*i).size", "x[i] *= 1.0f"),
        ("(2*i + 1)*n_tiles/(2*n)", "i"),
        ("a.frame(stream, head), n,", "a.frame(stream, 0), n,"),
    ],
)
def test_a_fault_shows(tmp_path: Path, source: str, right: str, wrong: str) -> None:
    assert source.count(right) == 1
    assert run(tmp_path, source.replace(right, wrong)).returncode != 0
