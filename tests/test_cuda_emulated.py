"""The CUDA kernels' own source on emulated threads: what its parts make, and the op tests of the device that it makes up."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from emulation import adapted

from art_local.building.presets import Preset

FEW_MEASURED = {"constexpr int   MEASURED  = 256;": "constexpr int   MEASURED  = 2;"}  # so that few tiles are too many to measure all
CARDS = {"3090": ("82", "99"), "H200": ("132", "227")}  # multiprocessors, KB of shared memory that a block may have
CASE = re.compile(r"read share ([\d.]+) .*?ART\((mode=ranked.*?eps=-1)\): \S*OK")

pytestmark = [pytest.mark.built, pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")]


def run(program: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(program)], capture_output=True, text=True, timeout=600)


def sample(folder: Path, faults: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return run(adapted.compiled(folder, [adapted.HERE / "sample.cpp"], "sample", faults))


def summary(folder: Path, faults: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return run(adapted.compiled(folder, [adapted.HERE / "summary.cpp"], "summary", {**FEW_MEASURED, **(faults or {})}))


def op_tests(device: str, only: str = "", **environment: str) -> subprocess.Popen[str]:
    arguments = [str(Preset("cpu").program("test-backend-ops")), "-o", "ART", "-b", device, *(["-p", only] if only else [])]
    environment = {**os.environ, "ART_TEST_VERBOSE": "1", **environment}
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def emulated(library: Path, only: str = "", card: str = "3090") -> subprocess.Popen[str]:
    multiprocessors, shared = CARDS[card]
    return op_tests("EMULATED0", only, GGML_BACKEND_PATH=str(library), EMULATED_MULTIPROCESSORS=multiprocessors, EMULATED_SHARED_KB=shared)


def test_a_block_draws_what_one_loop_draws(tmp_path: Path) -> None:
    done = sample(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("132 cases, 0 wrong")


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("constexpr float POWER          = 1.5f", "constexpr float POWER          = 1.0f"),
        ("? total : below", "? below : total"),
        ("*per_step - 0.5f", "*per_step"),
    ],
)
def test_a_fault_of_the_sample_shows(tmp_path: Path, right: str, wrong: str) -> None:
    assert sample(tmp_path, {right: wrong}).returncode != 0


def test_blocks_make_frames_and_records_of_the_cpu(tmp_path: Path) -> None:
    done = summary(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == "20 cases, 0 wrong\n"


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
def test_a_fault_of_records_shows(tmp_path: Path, right: str, wrong: str) -> None:
    assert summary(tmp_path, {right: wrong}).returncode != 0


@pytest.fixture(scope="module")
def shares_on_the_cpu() -> dict[str, float]:
    return shares(op_tests("CPU", "mode=ranked").communicate()[0])


def shares(output: str) -> dict[str, float]:
    return {case: float(share) for share, case in CASE.findall(output)}


def test_all_op_tests_pass_and_read_what_the_cpu_reads(emulated_device: Path, shares_on_the_cpu: dict[str, float]) -> None:
    parts = [emulated(emulated_device, only) for only in ("mode=ranked", "mode=[es]")]
    outputs = [part.communicate()[0] for part in parts]
    failed = [line for output in outputs for line in output.splitlines() if "FAIL" in line]
    assert [part.returncode for part in parts] == [0, 0] and not failed, "\n".join(failed)
    assert sum(output.count("ART(") - output.count("not supported") for output in outputs) > 200

    here = shares(outputs[0])
    one_block = {case for case in here if columns(case) <= 8}  # rows of one block stop together, as on the CPU
    assert len(one_block) > 50
    differences = [abs(here[case] - shares_on_the_cpu[case]) for case in one_block]
    assert max(differences) < 0.07 and sum(differences) / len(differences) < 0.01
    assert all(here[case] < shares_on_the_cpu[case] + 0.02 for case in here.keys() - one_block)  # a block may stop before the others


def columns(case: str) -> int:
    group, rows = re.search(r"group=(\d+)", case), re.search(r"n_query=(\d+)", case)
    assert group and rows
    return int(group[1]) * int(rows[1])


def test_another_card(emulated_device: Path) -> None:
    part = emulated(emulated_device, "mode=ranked.*n_kv=(4096|16384)", "H200")
    assert part.communicate()[0].count("FAIL") == 0 and part.returncode == 0


@pytest.mark.parametrize(
    ("right", "wrong", "only"),
    [
        # the rule is asked too rarely
        ("max(1, RANKED ? RULE_TILES/(2*strands) : CALM_TILES/2)", "4*warps", "mode=ranked,input=(window|sink|oldest).*type=q8"),
        # column blocks order tiles each for themselves
        ("b < a.n_col_blocks; ++b) {\n        if (b > 0)", "b < 1; ++b) {\n        if (b > 0)", "mode=ranked.*n_query=[48],n_stream=1"),
        # what they read together counts for each
        ("i/32], 1u << i % 32) >> i % 32 & 1) == 0", "i/32], 1u << i % 32) >> i % 32 & 1) < 2", "mode=ranked.*n_query=[48],n_stream=1"),
        # a copy is not waited for
        (
            "            copy_wait<0>();\n            __syncwarp();\n            w.take_sample",
            "            w.take_sample",
            "mode=ranked,input=graded",
        ),
        # the last block comes too early
        ("*flag = k == (unsigned) n - 1", "*flag = k == (unsigned) n - 2", "mode=exact,input=random,type=q8"),
    ],
)
def test_a_fault_of_the_kernels_shows(tmp_path: Path, shares_on_the_cpu: dict[str, float], right: str, wrong: str, only: str) -> None:
    part = emulated(adapted.device(tmp_path, {right: wrong}), only)
    output = part.communicate()[0]
    here = shares(output)
    assert part.returncode != 0 or any(abs(here[case] - shares_on_the_cpu[case]) > 0.11 for case in here), output
