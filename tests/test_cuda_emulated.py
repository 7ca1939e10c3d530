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
CASE = re.compile(r"read share ([\d.]+) .*?ART\((mode=ranked.*?eps=-1)\)")

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


def shares(output: str) -> dict[str, float]:
    return {case: float(share) for share, case in CASE.findall(output)}


def failures(output: str) -> list[str]:
    return [line for line in output.splitlines() if "FAIL" in line]


@pytest.fixture(scope="module")
def outputs(emulated_device: Path) -> list[str]:
    parts = [emulated(emulated_device, only) for only in ("mode=ranked", "mode=[es]")]
    return [part.communicate()[0] for part in parts]


def test_all_op_tests_pass(outputs: list[str]) -> None:
    assert not [line for output in outputs for line in failures(output)]
    assert all("1/1 backends passed" in output or "2/2 backends passed" in output for output in outputs)
    lines = [line for output in outputs for line in output.splitlines() if "ART(" in line]
    declined = [line for line in lines if "not supported" in line]
    assert all(re.search("head_size=(96|160),", line) for line in declined)
    assert len(lines) - len(declined) > 200


def test_ranked_reads_what_the_cpu_reads(outputs: list[str]) -> None:
    here, there = shares(outputs[0]), shares(op_tests("CPU", "mode=ranked").communicate()[0])
    one_block = {case for case in here if columns(case) <= 8}  # rows of one block stop together, as on the CPU
    several = here.keys() - one_block
    assert len(one_block) > 50 and len(several) >= 4
    differences = [abs(here[case] - there[case]) for case in one_block]
    assert max(differences) < 0.07 and sum(differences) / len(differences) < 0.01
    assert all(there[case] - 0.12 < here[case] < there[case] + 0.02 for case in several)  # a block may stop before the others


def columns(case: str) -> int:
    group, rows = re.search(r"group=(\d+)", case), re.search(r"n_query=(\d+)", case)
    assert group and rows
    return int(group[1]) * int(rows[1])


def test_another_card(emulated_device: Path) -> None:
    part = emulated(emulated_device, "mode=ranked.*n_kv=(4096|16384)", "H200")
    assert not failures(part.communicate()[0]) and part.returncode == 0


def test_a_run_under_way_while_another_is_judged(tmp_path: Path, outputs: list[str]) -> None:
    """Only long contexts do so; here, all. What it reads more is all that may differ from the CPU."""
    longer = {"constexpr int AHEAD_TILES      = 8192;": "constexpr int AHEAD_TILES      = 256;"}
    output = emulated(adapted.device(tmp_path, longer), "mode=ranked.*n_kv=(8192|16384)").communicate()[0]
    only_the_share = re.compile(r" +read share \S+ error \S+ stock \S+ +read share \S+, CPU reference \S+; +ART")
    assert all(only_the_share.match(line) for line in failures(output) if "ART(" in line), output
    here, before = shares(output), shares(outputs[0])
    assert here and all(here[case] >= before[case] for case in here) and any(here[case] > before[case] for case in here)


RANKED = "mode=ranked,input=(graded|needle|holes),type=q"
SEVERAL_BLOCKS = "mode=ranked,.*type=q.*n_query=[348],n_stream=1"
KERNELS = ", ".join(f"art::ordered_entry<art::KV_{kind}, {size}, true>()" for kind in ("Q8_0", "Q4_0") for size in (64, 128))
EXACT = "art::exact_entry<art::KV_Q8_0, 128, 1>()"


@pytest.mark.parametrize(
    ("right", "wrong", "cases"),
    [
        pytest.param("RULE_TILES/(2*strands) :", "4*warps :", "mode=ranked,input=(window|sink|oldest),type=q", id="rule asked too rarely"),
        pytest.param("first_block.col0 = 0;", "", SEVERAL_BLOCKS, id="the first rows have no say"),
        pytest.param(
            "const int n_cols = min(COLUMNS, a.n_cols - b*COLUMNS);", "const int n_cols = COLUMNS;", SEVERAL_BLOCKS, id="rows of no head"
        ),
        pytest.param("1u << i % 32) >> i % 32 & 1) == 0", "1u << i % 32) >> i % 32 & 1) < 2", SEVERAL_BLOCKS, id="counted twice"),
        pytest.param(
            "copy_wait<0>();\n            __syncwarp();\n            w.take_sample", "w.take_sample", RANKED, id="copy not waited for"
        ),
        pytest.param("STAGES - 1 && issued*warps", "STAGES + 1 && issued*warps", RANKED, id="slot overwritten"),
        pytest.param("float2 * ml = area.ml[r & 1][warp];", "float2 * ml = area.ml[0][warp];", RANKED, id="masses of another run"),
        pytest.param(
            "        picks[i] = 0;\n    }\n    __syncthreads();", "        picks[i] = 0;\n    }", RANKED, id="picks without a barrier"
        ),
        pytest.param("(int) sizeof(rank_area<D>) + 4*n_sort", "(int) sizeof(rank_area<D>)", RANKED, id="too little shared memory"),
        pytest.param(
            "*flag = k == (unsigned) n - 1", "*flag = k == (unsigned) n - 2", "mode=exact,input=random,type=q", id="last block too early"
        ),
    ],
)
def test_a_fault_of_the_kernels_shows(tmp_path: Path, outputs: list[str], right: str, wrong: str, cases: str) -> None:
    library = adapted.device(tmp_path, {right: wrong}, EXACT if "exact" in cases else KERNELS)
    part = emulated(library, cases)
    try:
        output = part.communicate(timeout=120)[0]
    except subprocess.TimeoutExpired:
        part.kill()
        return  # it waits for what does not come
    here, before = shares(output), shares(outputs[0])
    assert part.returncode != 0 or any(abs(here[case] - before[case]) > 0.002 for case in here), output
