"""plan against the truth: memory as llama-fit-params of our build gives it, speed as measured on one H200."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from art_local.bench.facts import bandwidth
from art_local.building.presets import Preset
from art_local.cli.app import run
from art_local.cli.plan import fitted
from art_local.errors import UsageError, UserError
from art_local.model.header import Header
from art_local.model.hollow import write_sparse
from art_local.model.locate import load
from art_local.plan import plan as planning
from art_local.plan.calibration import Measurement, calibrate
from art_local.plan.cards import CARDS, GIB, Card, find, processor, recognised
from art_local.plan.machine import sized
from art_local.plan.measured import parse_fit
from art_local.plan.memory import Setting, compute_bytes, describe, record_bytes
from art_local.plan.placement import largest_context, place
from art_local.plan.roofline import GPU_MIN_CELLS, ORDERING_US
from art_local.plan.truth import allocated

MIB = 1 << 20
HOST = processor(64 * GIB, 80e9)
# llama-fit-params -fitp on -fa on -nr, MiB: model, context, compute (ubatch 512, one sequence)
TRUTH = {
    ("llama-3.1-8b:Q4_K_S", 4096, "f16"): (4467, 512, 266), ("llama-3.1-8b:Q4_K_S", 32768, "q8_0"): (4467, 2176, 274),
    ("llama-3.1-8b:Q4_K_S", 131072, "q4_0"): (4467, 4608, 274), ("llama-3.1-8b:Q4_K_S", 131072, "f16"): (4467, 16384, 266),
    ("llama-3.3-70b:Q4_K_S", 4096, "q4_0"): (38470, 360, 282), ("llama-3.3-70b:Q4_K_S", 32768, "q8_0"): (38470, 5440, 298),
    ("llama-3.3-70b:Q4_K_S", 131072, "f16"): (38470, 40960, 360), ("llama-3.3-70b:Q4_K_S", 131072, "q8_0"): (38470, 21760, 344),
    ("gemma-3-27b:Q4_K_M", 4096, "f16"): (15773, 944, 533), ("gemma-3-27b:Q4_K_M", 32768, "q8_0"): (15773, 1691, 533),
    ("gemma-3-27b:Q4_K_M", 131072, "q4_0"): (15773, 3055, 533), ("gpt-oss-20b:MXFP4", 4096, "f16"): (11536, 114, 414),
    ("gpt-oss-20b:MXFP4", 32768, "q8_0"): (11536, 417, 409), ("gpt-oss-20b:MXFP4", 131072, "q4_0"): (11536, 869, 409),
    ("qwen3-8b:Q4_K_M", 4096, "q8_0"): (4789, 306, 312), ("qwen3-8b:Q4_K_M", 131072, "f16"): (4789, 18432, 312),
}  # fmt: skip
# stock llama-bench tg48 on one H200, Llama 3.1 8B shape, Q4_K_S
H200 = {
    "f16": {8192: 255.9, 32768: 191.8, 131072: 94.8},
    "q8_0": {0: 263.0, 8192: 207.1, 32768: 127.1, 131072: 49.6},
    "q4_0": {8192: 205.5, 32768: 125.3, 131072: 48.2},
}


def plan(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert run(["plan", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def make(name: str, card: Card, context: int, kv: str = "q8_0", count: int = 1, results: list[Path] | None = None) -> planning.Plan:
    return planning.make(load(name), card, count, Setting(context, kv, ranked=True), HOST, results or [])


def close(predicted: int, truth: tuple[int, int, int]) -> bool:
    return abs(predicted / MIB - sum(truth)) <= 0.03 * sum(truth)


@pytest.mark.parametrize(("name", "context", "kv"), TRUTH)
def test_memory_within_3_percent_of_llama_fit_params(name: str, context: int, kv: str) -> None:
    weights, cache, compute = TRUTH[name, context, kv]
    model, setting = describe(load(name)), Setting(context, kv)
    placed = place(model, processor(256 * GIB, 80e9), 1, setting)
    assert abs(placed.weights / MIB - weights) <= 0.002 * weights + 1
    assert abs(placed.kv / MIB - cache) <= 1
    assert abs(compute_bytes(model, setting) / MIB - compute) <= 0.07 * compute
    assert close(placed.weights + placed.kv + placed.compute, (weights, cache, compute))


@pytest.mark.built
@pytest.mark.parametrize("name", ["", "llama-3.1-8b:Q4_K_S", "llama-3.3-70b:Q4_K_S", "gemma-3-27b:Q4_K_M"])
def test_memory_against_this_build(name: str, patched: Any, demo: Path, tmp_path: Path) -> None:
    program = patched.program("llama-fit-params")
    if not program.exists():
        pytest.skip("this build has no llama-fit-params")
    path = tmp_path / "model.gguf" if name else demo
    if name:
        write_sparse(path, load(name))
    model = describe(load(str(path)))
    for context in (4096, 32768, 131072):
        for kv in ("f16", "q8_0", "q4_0"):
            flags = ["-fitp", "on", "-fa", "on", "-nr", "-c", str(context), "-ctk", kv, "-ctv", kv, "-ngl", "0", "-dev", "none"]
            done = subprocess.run([program, "-m", path, *flags], capture_output=True, text=True, check=True)
            truth = (parse_fit(done.stdout) or {})["Host"]
            placed = place(model, processor(256 * GIB, 80e9), 1, Setting(context, kv))
            assert close(placed.weights + placed.kv + placed.compute, tuple(count // MIB for count in truth.values()))  # type: ignore[arg-type]


@pytest.mark.parametrize("kv", H200)
def test_stock_speed_on_an_h200(kv: str) -> None:
    made = make("llama-3.1-8b:Q4_K_S", find("H200"), 131072, kv)
    for depth, speed in H200[kv].items():
        seconds = made.speeds.seconds["off"]
        assert 1 / seconds[depth] == pytest.approx(speed, rel=0.15), depth


def bench_file(path: Path, points: dict[int, float], kv: str, size: int, mode: str = "off") -> Path:
    lines = [
        {"gpu_info": "NVIDIA H200", "model_size": size, "type_k": kv, "type_v": kv, "n_prompt": 0, "n_gen": 48, "n_depth": depth,
         "avg_ts": speed, "art_local": {"format": 1, "kind": "run", "configuration": {"mode": mode, "kv": kv, "depth": depth}}}
        for depth, speed in points.items()
    ]  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.mark.parametrize("kv", H200)
@pytest.mark.parametrize("known", [8192, 32768, 131072])
def test_calibrated_on_one_depth_the_others_follow(kv: str, known: int, tmp_path: Path) -> None:
    size = load("llama-3.1-8b:Q4_K_S").weight_bytes
    results = bench_file(tmp_path / "r.jsonl", {known: H200[kv][known]}, kv, size)
    made = make("llama-3.1-8b:Q4_K_S", find("H200"), 131072, kv, results=[results])
    for depth, speed in H200[kv].items():
        assert 1 / made.speeds.seconds["off"][depth] == pytest.approx(speed, rel=0.15), depth
    assert any("fitted to 1 measured speeds (off)" in line for line in made.speeds.assumptions)


def test_results_of_something_else_change_nothing_and_say_why(tmp_path: Path) -> None:
    size = load("llama-3.1-8b:Q4_K_S").weight_bytes
    plain = make("llama-3.1-8b:Q4_K_S", find("H200"), 32768).speeds.seconds
    for name, count, reason in (("H200", 2, "2 x H200"), ("3090", 1, "it is of NVIDIA H200, this plan is for 1 x RTX 3090")):
        path = bench_file(tmp_path / "card", {0: 1.0}, "q8_0", size)
        made = make("llama-3.1-8b:Q4_K_S", find(name), 32768, count=count, results=[path])
        assert made.speeds.seconds == make("llama-3.1-8b:Q4_K_S", find(name), 32768, count=count).speeds.seconds
        assert "card changes nothing: " in made.speeds.assumptions[-1] and reason in made.speeds.assumptions[-1]
    other = make("llama-3.1-8b:Q4_K_S", find("H200"), 32768, results=[bench_file(tmp_path / "model", {0: 1.0}, "q8_0", size * 2)])
    assert other.speeds.seconds == plain and "9.37 GB of weights, this one 4.68 GB" in other.speeds.assumptions[-1]


def test_odd_results_are_an_answer_or_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = load("llama-3.1-8b:Q4_K_S").weight_bytes
    plain = make("llama-3.1-8b:Q4_K_S", find("H200"), 32768).speeds.seconds
    path = bench_file(tmp_path / "r", {0: 100.0}, "q5_1", size)
    assert make("llama-3.1-8b:Q4_K_S", find("H200"), 32768, results=[path]).speeds.seconds == plain
    for name, odd in (("avg_ts", 0), ("avg_ts", None), ("n_gen", None), ("type_v", [1]), ("gpu_info", 7), ("art_read_share", "x")):
        line = json.loads(bench_file(tmp_path / "r", {0: 100.0}, "q8_0", size).read_text())
        path.write_text(json.dumps({**line, name: odd}) + "\n")
        assert run(["plan", "llama-3.1-8b:Q4_K_S", "--gpu", "H200", "--results", str(path)]) == 0, name
        capsys.readouterr()


def test_another_kv_type_tells_the_time_of_the_weights_alone(tmp_path: Path) -> None:
    size = load("llama-3.1-8b:Q4_K_S").weight_bytes
    plain = make("llama-3.1-8b:Q4_K_S", find("H200"), 32768).speeds.seconds["off"]
    path = bench_file(tmp_path / "kv", {0: 0.5 / plain[0], 32768: 1.0}, "f16", size)
    made = make("llama-3.1-8b:Q4_K_S", find("H200"), 32768, results=[path])
    assert made.speeds.seconds["off"][0] == pytest.approx(2 * plain[0], rel=0.03)
    assert made.speeds.seconds["off"][32768] - made.speeds.seconds["off"][0] == pytest.approx(plain[32768] - plain[0])
    assert "KV f16 there" in made.speeds.assumptions[-1]


def test_each_mode_has_its_own_attention_and_all_share_the_weights(tmp_path: Path) -> None:
    size = load("llama-3.1-8b:Q4_K_S").weight_bytes
    plain = make("llama-3.1-8b:Q4_K_S", find("H200"), 32768).speeds.seconds
    twice = bench_file(tmp_path / "c", {0: 100.0, 32768: 50.0}, "q8_0", size, "ranked")
    made = make("llama-3.1-8b:Q4_K_S", find("H200"), 32768, results=[twice]).speeds.seconds
    assert 1 / made["ranked"][32768] == pytest.approx(50, rel=0.03) and 1 / made["ranked"][0] == pytest.approx(100, rel=0.03)
    grown = [row[32768] - row[0] for row in (made["off"], plain["off"])]
    assert grown[0] == pytest.approx(grown[1]) and made["off"][0] > 2 * plain["off"][0]
    found = calibrate([Measurement(("off", "q8_0"), 1, 1, 4), Measurement(("off", "q8_0"), 1, 3, 8)])
    assert found.base == pytest.approx(2, rel=0.05) and found.attention["off", "q8_0"] == pytest.approx(2, rel=0.05)


MEASURED = Path(__file__).parents[1] / "docs" / "results" / "2026-11-21-h200-llama-8b-shape.jsonl"


def test_speeds_follow_from_one_depth_on_the_card_that_was_measured(capsys: pytest.CaptureFixture[str]) -> None:
    done = truth("speed", str(MEASURED), "--model", "llama-3.1-8b:Q4_K_S", "--gpu", "H200")
    assert done.returncode == 0 and "54 compared, 0 more than 15% off" in done.stdout, done.stdout[-300:] + done.stderr
    other = truth("speed", str(MEASURED), "--model", "llama-3.1-8b:Q4_K_S", "--gpu", "3090")
    assert other.returncode == 1 and "left out: it is of NVIDIA H200" in other.stderr


def truth(*arguments: str) -> subprocess.CompletedProcess[str]:
    script = Path(__file__).parents[1] / "scripts" / "gpu" / "plan_truth.py"
    return subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True)


@pytest.mark.built
def test_memory_against_what_the_build_allocates(patched: Any, demo: Path, tmp_path: Path) -> None:
    done = truth("memory", str(demo), "--preset", "cpu", "--ctx", "4k,8k", "--json", str(tmp_path / "rows"))
    assert done.returncode == 0 and "6 compared, 0 more than 3% off" in done.stdout, done.stdout[-300:] + done.stderr
    rows = [json.loads(line) for line in (tmp_path / "rows").read_text().splitlines()]
    assert {row["part"] for row in rows} == {"weights", "kv", "summaries", "compute", "all of these"}


def test_a_load_log_is_read_by_part_and_place() -> None:
    log = """
        0.1 I load_tensors:   CPU_Mapped model buffer size =   100.00 MiB
        0.1 I load_tensors:        CUDA0 model buffer size =  1000.00 MiB
        0.1 I llama_kv_cache:      CUDA0 KV buffer size =    10.00 MiB
        0.1 I llama_kv_cache:      CUDA0 KV buffer size =     5.00 MiB
        0.1 I llama_kv_cache:        CPU KV buffer size =     7.00 MiB
        0.1 I sched_reserve:      CUDA0 compute buffer size =    50.00 MiB
        0.1 I alloc_summaries:      CUDA0 summary buffer size =     3.00 MiB
        0.1 I sched_reserve:      CUDA0 compute buffer size =    60.00 MiB
        0.1 I sched_reserve:  CUDA_Host compute buffer size =    20.00 MiB"""
    parts = {name: size / MIB for name, size in allocated(log.splitlines(), on_card=True).parts.items()}
    assert parts == {"weights": 1000, "kv": 15, "state": 0, "summaries": 3, "compute": 60, "host weights": 100, "host kv": 7}


def test_70b_on_one_24_gb_card(capsys: pytest.CaptureFixture[str]) -> None:
    told = plan(capsys, "llama-3.3-70b:Q4_K_S", "--gpu", "3090", "--ctx", "32768")
    memory = told["memory"]
    assert not memory["fits"] and told["largest_context"] == 0 and 30 < memory["ngl"] < 55
    assert memory["used"] <= 24 * GIB and memory["weights"] + memory["host_weights"] == pytest.approx(40.34e9, rel=0.01)
    # the 19 GB off the card cannot be read faster than main memory gives them
    assert 1 < told["tokens_per_second"]["off"]["0"] < 80e9 / memory["host_weights"]
    by_name = {one["what"]: one for one in told["alternatives"]}
    assert by_name["2 x RTX 3090"]["fits"] and by_name["2 x RTX 3090"]["tokens_per_second"] > 8
    assert not [name for name in by_name if "Q2" in name], "what fits but is of no use is no advice"
    assert not by_name["Q3_K_M"]["fits"] and "a smaller model in Q4 is the better choice" in by_name["Q3_K_M"]["note"]
    shorter = plan(capsys, "llama-3.3-70b:Q4_K_S", "--gpu", "A6000", "--memory", "40", "--ctx", "32768")["alternatives"]
    assert [one["fits"] for one in shorter if one["what"].startswith(("Q", "IQ"))] == [True]
    assert run(["plan", "llama-3.3-70b:Q4_K_S", "--gpu", "3090"]) == 0
    text = capsys.readouterr().out
    for part in ("does not fit", "-ngl", "main memory", "prediction, not a measurement", "2 x RTX 3090", "--ram-bandwidth", "prefill"):
        assert part in text


def test_no_speed_is_promised_for_what_memory_cannot_hold(capsys: pytest.CaptureFixture[str]) -> None:
    small, large = processor(16 * GIB, 80e9), processor(64 * GIB, 80e9)
    made = planning.make(load("llama-3.3-70b:Q4_K_S"), small, 1, Setting(4096, ranked=True), small, [])
    assert not made.speeds.seconds and "GiB of main memory, there are 16.0" in made.warnings[0]
    assert planning.make(load("llama-3.3-70b:Q4_K_S"), large, 1, Setting(4096, ranked=True), large, []).speeds.seconds
    beside = planning.make(load("llama-3.3-70b:Q4_K_S"), find("3060"), 1, Setting(4096, ranked=True), small, [])
    assert not beside.speeds.seconds and beside.warnings
    assert plan(capsys, "llama-3.3-70b:Q4_K_S", "--gpu", "3060", "--ram", "16")["tokens_per_second"] == {}
    assert run(["plan", "llama-3.3-70b:Q4_K_S", "--gpu", "3060", "--ram", "16"]) == 0
    assert "at no useful speed" in capsys.readouterr().out
    known = planning.make(load("llama-3.3-70b:Q4_K_S"), small, 1, Setting(4096, ranked=True), small, [MEASURED])
    assert any("changes nothing: it is of NVIDIA H200" in line for line in known.speeds.assumptions)


def test_beyond_the_trained_context_there_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    assert plan(capsys, "qwen3-8b", "--gpu", "H200", "--ctx", "32k")["warnings"] == []
    told = plan(capsys, "qwen3-8b", "--gpu", "H200", "--ctx", "64k")
    assert told["context"] == 65536 and "trained for 40960 tokens" in told["warnings"][0]


def test_experts_in_main_memory_beat_whole_layers_there() -> None:
    made = make("gpt-oss-20b", find("RTX 3080"), 32768)
    apart = next(one for one in made.alternatives if one.what == "--cpu-moe")
    assert not made.placement.fits and apart.fits and 5 < apart.tokens_per_second < 200
    # 4 of 32 experts: 1.27 GB a token at 60 GB/s
    assert apart.tokens_per_second < 1 / (10.15e9 / 8 / 60e9)


def test_placement_is_consistent() -> None:
    for name in ("llama-3.1-8b", "gemma-3-27b", "gpt-oss-20b", "qwen2.5-72b"):
        model = describe(load(name))
        total = sum(tensor.bytes for tensor in load(name).tensors)
        for card in (find("3060"), find("3090"), find("5090"), find("M3 Ultra")):
            last = -1
            for context in (262144, 65536, 16384, 4096, 256):
                placed = place(model, card, 1, Setting(context))
                assert placed.ngl >= last  # a shorter context never holds fewer layers
                last = placed.ngl
                if placed.ngl:
                    assert placed.used <= placed.capacity
                whole = placed.weights + placed.host_weights
                assert total <= whole <= total + model.twice + 1
            limit = largest_context(model, card, 1, Setting(0))
            if limit:
                assert place(model, card, 1, Setting(limit)).fits
                assert limit >= model.context or not place(model, card, 1, Setting(limit + 256)).fits


def test_modes_and_depths() -> None:
    made = make("llama-3.1-8b:Q4_K_S", find("4090"), 131072)
    for row in made.speeds.seconds.values():
        assert sorted(row.values()) == list(row.values()) and next(iter(row)) == 0 and list(row)[-1] == 131072
    ranked, exact, off = (made.speeds.seconds[mode][131072] for mode in ("ranked", "exact", "off"))
    assert ranked < exact < off
    # never faster than the bytes that must be read
    weights = made.model.header.weight_bytes - made.model.input_bytes
    assert made.speeds.seconds["off"][0] > weights / made.card.bandwidth


def test_summaries_as_the_library_lays_them_out() -> None:
    assert (record_bytes(64), record_bytes(128), record_bytes(256)) == (64, 128, 240)
    header = Path(__file__).parents[1] / "build" / "tree" / "ggml" / "src" / "ggml-art-summary.h"
    if header.exists():
        text = header.read_text()
        size = "((D)/2 + GGML_ART_CONTRASTS*(D)/8 + 2*(GGML_ART_SCALES(D) + 1) + GGML_ART_CONTRASTS + 15)/16*16"
        assert size in text and "GGML_ART_SCALES(D)      (((D) + 63)/64)" in text
        assert "GGML_ART_CONTRASTS  3" in text and "GGML_ART_TILE       8" in text


@pytest.mark.parametrize(("query", "name"), [("3090", "RTX 3090"), ("rtx 4090", "RTX 4090"), ("NVIDIA GeForce RTX 5090", "RTX 5090"),
                         ("M3 Ultra", "M3 Ultra 96GB"), ("m4 max 128gb", "M4 Max 128GB"), ("h200", "H200"),
                         ("3090ti", "RTX 3090 Ti"), ("RTX3090", "RTX 3090"), ("4070tisuper", "RTX 4070 Ti SUPER")])  # fmt: skip
def test_cards_by_name(query: str, name: str) -> None:
    assert find(query).name == name


def test_this_machines_card() -> None:
    names = {"NVIDIA GeForce RTX 3090": "RTX 3090", "NVIDIA GeForce RTX 3090 Ti": "RTX 3090 Ti", "NVIDIA H200": "H200",
             "NVIDIA A100-SXM4-80GB": "A100 80GB", "Apple M3 Ultra": "M3 Ultra 96GB", "NVIDIA GeForce RTX 4070 SUPER": None,
             "NVIDIA A100-SXM4-40GB": "A100 40GB", "NVIDIA A100 80GB PCIe": None, "NVIDIA H100 PCIe": None, "NVIDIA H100 NVL": None,
             "NVIDIA H100 80GB HBM3": "H100", "NVIDIA GeForce RTX 3060 Ti": None, "NVIDIA GeForce RTX 3080 Ti": None,
             "NVIDIA GeForce RTX 4070 Ti": None, "NVIDIA GeForce RTX 4070 Ti SUPER": "RTX 4070 Ti SUPER",
             "NVIDIA GeForce RTX 4090 D": None, "Quadro RTX 6000": None, "NVIDIA RTX 6000 Ada Generation": "RTX 6000 Ada",
             "NVIDIA RTX A6000": "RTX A6000", "NVIDIA RTX PRO 6000 Blackwell Workstation Edition": "RTX PRO 6000",
             "NVIDIA GeForce RTX 2080": None, "NVIDIA GeForce RTX 3080 Laptop GPU": None, "AMD Radeon": None}  # fmt: skip
    for driver, name in names.items():
        card = recognised(driver)
        assert (card.name if card else None) == name, driver
        assert bandwidth([{"name": driver}]) == (card.bandwidth if card else None), "a bench goes by the same rule"
    assert bandwidth([{"name": "Apple M4 Max", "memory": 128 * GIB}]) == 546e9


def test_every_card_is_found_by_its_name() -> None:
    assert [find(card.name) for card in CARDS] == CARDS


@pytest.mark.parametrize(("query", "near"), [("M1", "M1 Max 64GB"), ("rtx", "RTX 3060"), ("max", "M3 Max 128GB"),
                         ("4070 Ti", "RTX 4070 Ti SUPER"), ("6000", "RTX 6000 Ada"), ("4060", "RTX 4060 Ti"),
                         ("m4 max 48gb", "M4 Max 64GB")])  # fmt: skip
def test_a_part_of_a_name_is_refused_with_what_is_near(query: str, near: str) -> None:
    with pytest.raises(UsageError, match=f"No card '{query}' in the table; near it: .*{near}"):
        find(query)


def test_apple_shares_one_memory_and_runs_mode_off_alone() -> None:
    made = make("llama-3.1-8b", find("M4 Max"), 32768)
    assert list(made.speeds.seconds) == ["off"] and made.placement.summaries == 0
    assert any("exact and ranked do not run on Apple GPUs yet" in line for line in made.speeds.assumptions)
    small = make("qwen3-32b:Q8_0", find("M4 Max"), 32768)
    assert not small.speeds.seconds and "at no useful speed" in small.warnings[0]
    large = make("qwen3-32b:Q8_0", find("M4 Max", 100), 32768)
    assert large.placement.fits and large.card.name == "M4 Max 100GB" and large.card.bandwidth == 546e9 and large.card.usable == 75 * GIB
    # what a driver reports is what the GPU may use
    assert sized(find("M1 Max"), 48 * GIB, 64 * GIB).usable == 48 * GIB
    assert sized(find("RTX 3090"), 23 * GIB, 64 * GIB).memory == 23 * GIB


def test_a_model_without_early_termination_gets_mode_off_and_the_reason() -> None:
    header = load("llama-3.1-8b")
    sizes = {"llama.attention.key_length": 80, "llama.attention.value_length": 80}
    odd = Header({**header.metadata, **sizes}, header.tensors)
    for card in (find("3090"), HOST):
        made = planning.make(odd, card, 1, Setting(32768, "q8_0", ranked=True), HOST, [])
        assert list(made.speeds.seconds) == ["off"] and made.placement.summaries == 0
        assert any("head size 80, the kernels take" in line for line in made.speeds.assumptions)
        assert not any("ranked reads" in line for line in made.speeds.assumptions)


def test_ranked_reads_everything_where_the_programs_do() -> None:
    """As the CUDA patch decides, and as measured on the H200: at 32k all was read, at 128k not."""
    made = make("llama-3.1-8b:Q4_K_S", find("H200"), 131072)
    told = next(line for line in made.speeds.assumptions if "ranked reads everything up to about" in line)
    limit = int(re.findall(r"about (\d+) tokens", told)[0])
    assert 36000 < limit < 50000
    exact, ranked = (made.speeds.seconds[mode] for mode in ("exact", "ranked"))
    upkeep = 32 * 3e-6
    assert ranked[32768] == pytest.approx(exact[32768] + upkeep) and ranked[131072] < exact[131072]
    assert made.speeds.seconds["off"][0] == exact[0], "few cells stay with upstream's kernels"
    short = make("llama-3.1-8b:Q4_K_S", find("H200"), 16384, "f16").speeds.seconds
    assert short["off"] == short["exact"]
    patch = (Path(__file__).parents[1] / "patches" / "ggml-cuda-take-decode-attention-with-early-termination.patch").read_text()
    cells, microseconds = GPU_MIN_CELLS, ORDERING_US
    assert f"type == GGML_TYPE_F16 ? {cells['f16']} : {cells['q8_0']};" in patch and f"min_us = {microseconds:.1f};" in patch


def test_words_of_a_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    def told(*arguments: str) -> str:
        assert run(["plan", *arguments]) == 0
        return " ".join(capsys.readouterr().out.split())

    beyond = told("qwen3-8b", "--gpu", "H200", "--ctx", "64k")
    assert "that fits: at least 65536; it was trained for 40960." in beyond
    limit = make("llama-3.1-8b", find("3090"), 4096).largest
    roomy = make("llama-3.1-8b", find("3090"), 4096).placement
    assert limit == 131072 and "barely" not in told("llama-3.1-8b", "--gpu", "3090", "--ctx", "4k")
    tight = f"{(roomy.used + 50 * MIB) / GIB:.3f}"
    assert "barely: 5" in told("llama-3.1-8b", "--gpu", "3090", "--ctx", "4k", "--memory", tight)
    assert "there are 0.0: it would run from the disk" in told("llama-3.3-70b", "--gpu", "3060", "--ram", "1")
    for wrong, sentence in (["--ram", "0"], "--ram from 1 GiB"), (["--ctx", "1M"], "k is 1024, there is no other"):
        assert run(["plan", "llama-3.1-8b", "--gpu", "3090", *wrong]) == 2
        assert sentence in capsys.readouterr().err


def test_the_build_that_suits_the_card_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[str] = []
    monkeypatch.setattr(Preset, "program", lambda preset, name: tmp_path / preset.name)
    monkeypatch.setattr("art_local.plan.measured.fit_params", lambda program, model, setting: asked.append(program.name))
    for built, card, suited in (
        (("cpu", "cuda", "metal"), find("3090"), "cuda"),
        (("cpu", "cuda", "metal"), find("M4 Max"), "metal"),
        (("cpu", "cuda"), HOST, "cpu"),
        (("cpu",), find("3090"), "cpu"),
    ):
        for name in ("cpu", "cuda", "metal"):
            (tmp_path / name).unlink(missing_ok=True)
            if name in built:
                (tmp_path / name).touch()
        fitted(tmp_path, make("qwen3-8b", card, 4096))
        assert asked.pop() == suited


def test_what_is_asked_of_cards_needs_a_card(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("art_local.plan.machine.this_machines", lambda bandwidth: (processor(64 * GIB, 80e9),) * 2)
    for arguments, sentence in ((["--gpus", "2"], "this machine has none"), (["--memory", "12"], "this machine has none"),
                                (["--gpu", "3090,4090"], "one kind of card"),
                                (["--gpu", "M4 Max", "--gpus", "2"], "the GPU of M4 Max 36GB is one")):  # fmt: skip
        assert run(["plan", "llama-3.1-8b", *arguments]) == 2
        assert sentence in capsys.readouterr().err
    monkeypatch.setattr("art_local.plan.machine.this_machines", lambda bandwidth: (find("3090"), processor(64 * GIB, 80e9)))
    assert plan(capsys, "llama-3.1-8b", "--memory", "12")["memory"]["capacity"] == 12 * GIB


def test_bad_input_is_one_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text("no json\n{}\n")
    for arguments in (["--gpu", "9999"], ["--gpu", ""], ["--gpu", "3090", "--gpus", "0"], ["--gpu", "3090", "--kv", "q3"],
                      ["--gpu", "3090", "--ctx", "0"], ["--gpu", "3090", "--ctx", "999999999"], ["--gpu", "3090", "--memory", "-1"],
                      ["--gpu", "3090", "--ram-bandwidth", "0"], ["--gpu", "3090", "--results", str(tmp_path / "bad.jsonl")]):  # fmt: skip
        assert run(["plan", "llama-3.1-8b", *arguments]) == (1 if "--results" in arguments else 2), arguments
        err = capsys.readouterr().err
        assert err.startswith("error: ") and err.count("\n") == 1
    with pytest.raises(UserError):
        describe(Header({"general.architecture": "llama", "llama.block_count": 1}, []))


def test_every_shape_on_every_card() -> None:
    from art_local.model.shape import names

    for name in names():
        for card in CARDS[:: len(CARDS) // 4]:
            made = make(name, card, 8192)
            assert made.speeds.seconds["off"][8192] > 0 and made.placement.used >= 0
