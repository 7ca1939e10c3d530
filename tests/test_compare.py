"""Results side by side: what is divided, what is refused, how sure it is."""

from __future__ import annotations

import builtins
import json
import math
import random
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bench_stand_in import bench, facts, fake_programs

from art_local.bench import comparison
from art_local.bench.configuration import Configuration, Plan
from art_local.bench.interval import ratio
from art_local.bench.markdown import configuration, footnotes, post
from art_local.bench.page import page
from art_local.bench.plot import picture, text_plot
from art_local.bench.prediction import same_model
from art_local.bench.results import join
from art_local.errors import UserError

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


def results_file(path: Path, speeds: dict[str, list[float]], sha256: str = "5ha", depth: int = 4096, **more: Any) -> Path:
    """A file with one round for each speed."""
    lines = []
    for mode, values in speeds.items():
        for number, value in enumerate(values):
            one = Configuration(mode, depth=depth, **more)
            record = json.dumps({"n_gen": 64, "n_depth": depth, "avg_ts": value, "samples_ts": [value]})
            about = {"facts": facts(sha256).as_dict(), "command": ["/home/me/llama-bench", "-m", "/home/me/m.gguf", "-d", str(depth)]}
            lines.append(join(record, {"kind": "run", "round": number, "configuration": one.as_dict(), **about}))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    dice, held = random.Random(3), 0
    for _ in range(2000):
        base, other = ([math.exp(dice.gauss(mean, 0.05)) for _ in range(4)] for mean in (0.0, 0.1))
        found = ratio(base, other)
        assert found.low is not None and found.high is not None
        held += found.low <= math.exp(0.1) <= found.high
    assert 0.94 < held / 2000 < 0.98


def test_no_difference_is_said_when_it_is_one() -> None:
    assert ratio([100, 102, 98], [101, 99, 103]).verdict == "no difference"
    assert ratio([100, 101, 99], [120, 121, 119]).verdict == "faster"
    assert ratio([120, 121, 119], [100, 101, 99]).verdict == "slower"
    assert ratio([100], [120]).verdict == "one run each: not known how sure"
    same = ratio([100, 100], [100, 100])
    assert (same.low, same.value, same.high) == (1.0, 1.0, 1.0)


def test_repetitions_of_one_process_do_not_count_as_independent(tmp_path: Path) -> None:
    plan = Plan((0,), ("exact",), rounds=3, reps=5)
    result = comparison.load(bench(tmp_path, plan, fake_programs(tmp_path / "bin")).path)
    assert len(result.rows[0].samples) == 15
    other = comparison.load(bench(tmp_path, plan, fake_programs(tmp_path / "bin"), "other.jsonl").path)
    (pair, _) = comparison.between([result, other])
    assert pair.method.startswith("of the geometric means of the rounds")


def test_rounds_of_one_file_are_held_against_each_other(tmp_path: Path) -> None:
    """A machine that grows slower by the round says nothing about a mode."""
    file = results_file(tmp_path / "a.jsonl", {"off": [100, 80, 60, 40], "exact": [111, 88, 66, 44]})
    (pair,) = comparison.within(comparison.load(file))
    assert pair.ratio.low and pair.ratio.high and 1.09 < pair.ratio.low < pair.ratio.high < 1.12 and pair.verdict == "faster"
    assert pair.method.startswith("the geometric mean of each round's own quotient")
    apart = ratio([100, 80, 60, 40], [111, 88, 66, 44])
    assert apart.verdict == "no difference"


def test_what_the_ratio_is_stands_below_it(run_cli: Cli, tmp_path: Path) -> None:
    file = results_file(tmp_path / "a.jsonl", {"off": [100, 80, 90], "exact": [111, 99, 88]})
    for flags in ([], ["--md"]):
        assert "ratio: the geometric mean of each round's own quotient" in run_cli("compare", str(file), *flags).stdout


def test_a_forced_share_is_compared_with_the_baseline_and_named(tmp_path: Path) -> None:
    plan = Plan((0, 512), ("exact", "ranked"), rounds=1, force=0.2)
    file = bench(tmp_path, plan, fake_programs(tmp_path / "bin")).path
    pairs = comparison.within(comparison.load(file))
    assert [pair.other.key.setting for pair in pairs] == ["exact", "ranked forced to 20%"] * 2
    old = tmp_path / "old.jsonl"  # where it was kept at first
    text = file.read_text(encoding="utf-8").replace('"force": 0.2', '"force": null').replace('"layer_eps": [], ', "")
    old.write_text(text.replace('"mode": "ranked"', '"mode": "ranked", "extra": ["--art-force", "0.2"]').replace('"extra": []', '"x": 1'))
    assert [pair.other.key for pair in comparison.within(comparison.load(old))] == [pair.other.key for pair in pairs]


def test_a_forced_share_that_read_all_says_so(run_cli: Cli, tmp_path: Path) -> None:
    file = bench(tmp_path, Plan((0, 512), ("ranked",), rounds=1, force=0.2), fake_programs(tmp_path / "bin")).path
    assert "read all" not in run_cli("compare", str(file)).stdout
    file.write_text(file.read_text(encoding="utf-8").replace('"art_read_share": 0.25', '"art_read_share": 1.0'), encoding="utf-8")
    assert "ranked forced to 20% (read all) q8_0 tg64 @ d512 / off" in run_cli("compare", str(file)).stdout
    assert "ranked forced to 20% (read all)" in run_cli("compare", str(file), "--md").stdout
    assert run_cli("report", str(file)).returncode == 0
    assert "<td class=l>ranked forced to 20% (read all)</td>" in file.with_suffix(".html").read_text(encoding="utf-8")


def test_an_evals_file_is_for_the_report(run_cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "eval.json").write_text('{"format": 1, "made by": "art-local eval 0", "records": []}', encoding="utf-8")
    refused = run_cli("compare", str(tmp_path / "eval.json"))
    assert refused.returncode == 2 and "'art-local report' shows it" in refused.stderr and refused.stderr.count("\n") == 1


def test_a_file_is_no_comparison_with_itself(run_cli: Cli, tmp_path: Path) -> None:
    file = results_file(tmp_path / "a.jsonl", {"off": [50]})
    copy = tmp_path / "b.jsonl"
    copy.write_bytes(file.read_bytes())
    for command in ("compare", "report"):
        again = run_cli(command, str(file), str(tmp_path / "." / "a.jsonl"))
        assert (again.returncode, again.stderr) == (2, f"error: {file} is named twice.\n")
        assert run_cli(command, str(file), str(copy)).stderr == f"error: {copy} is a copy of {file}.\n"


def test_one_file_is_compared_with_its_own_baseline(tmp_path: Path) -> None:
    result = comparison.load(results_file(tmp_path / "a.jsonl", {"off": [50, 51, 49], "ranked": [75, 76, 74]}))
    (pair,) = comparison.within(result)
    assert pair.ratio.value == pytest.approx(1.5, rel=0.01) and pair.verdict == "faster"
    with pytest.raises(UserError, match="no mode beside its baseline"):
        comparison.within(comparison.load(results_file(tmp_path / "b.jsonl", {"off": [50.0]})))


def test_two_files_meet_where_they_agree(tmp_path: Path) -> None:
    first = comparison.load(results_file(tmp_path / "a.jsonl", {"off": [50], "exact": [60]}), 936e9, 700)
    second = comparison.load(results_file(tmp_path / "b.jsonl", {"off": [100], "ranked": [90]}), 1008e9, 1400)
    (pair,) = comparison.between([first, second])
    assert pair.ratio.value == pytest.approx(2) and pair.other.key.mode == "off"
    assert pair.per_bandwidth == pytest.approx(2 * 936 / 1008) and pair.per_price == pytest.approx(1)
    (across,) = comparison.between([first, second], ("exact", "ranked"))
    assert across.ratio.value == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"sha256": "0ther"}, "speeds of different models"),
        ({"depth": 8192}, "depth 4096 there, 8192 here"),
        ({"kv": "q4_0"}, "kv q8_0 there, q4_0 here"),
        ({"batch": 4}, "batch 1 there, 4 here"),
        ({"extra": ("-t", "8")}, "extra none there, -t 8 here"),
        ({"speeds": {"ranked": [1.0]}}, "mode off there, ranked here .--modes off:ranked compares across modes"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_the_reason(tmp_path: Path, other: dict[str, Any], reason: str) -> None:
    first = comparison.load(results_file(tmp_path / "a.jsonl", {"off": [50]}))
    second = comparison.load(results_file(tmp_path / "b.jsonl", **{"speeds": {"off": [50]}, **other}))
    with pytest.raises(UserError, match=reason):
        comparison.between([first, second])


def test_a_prediction_is_never_taken_for_a_measurement(tmp_path: Path) -> None:
    about = {"facts": facts().as_dict(), "configuration": Configuration("off", depth=4096).as_dict()}
    line = join(None, {"kind": "prediction", "prediction": {"tokens_per_second": 80.0, "assumption": "80 % of the bandwidth"}, **about})
    (tmp_path / "p.jsonl").write_text(line + "\n", encoding="utf-8")
    predicted = comparison.load(tmp_path / "p.jsonl")
    measured = comparison.load(results_file(tmp_path / "a.jsonl", {"off": [50, 51, 49]}))
    (pair,) = comparison.between([measured, predicted])
    assert pair.verdict == "a prediction is part of it" and pair.ratio.low is None
    told = post([measured, predicted], [pair])
    assert "80.00 (predicted)" in told and "predicted, not measured" in told
    assert "avg_ts" not in line, "llama-bench's own tools must not take it for one of theirs"


def test_a_plan_is_a_side_of_a_comparison_and_marked(run_cli: Cli, tmp_path: Path) -> None:
    plan = run_cli("plan", "llama-3.1-8b:Q4_K_M", "--gpu", "3090", "--json")
    (tmp_path / "plan.json").write_text(plan.stdout, encoding="utf-8")
    predicted = comparison.load(tmp_path / "plan.json")
    assert {row.key.mode for row in predicted.rows} >= {"off", "exact", "ranked"} and all(row.predicted for row in predicted.rows)
    assert predicted.rows[0].assumption
    measured = comparison.load(results_file(tmp_path / "a.jsonl", {"off": [90.0]}))
    with pytest.raises(UserError, match="different models are not compared"):
        comparison.between([predicted, measured])
    name = "Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf"
    own = replace(measured, rows=[replace(row, key=replace(row.key, model=name)) for row in measured.rows])
    (pair,) = comparison.between([predicted, own])
    assert pair.verdict == "a prediction is part of it" and pair.base.median and 50 < pair.base.median < 300
    own = replace(own, rows=[replace(row, key=replace(row.key, test="tg48")) for row in own.rows])
    for sides in ([predicted, own], [own, predicted]):
        (pair,) = comparison.between(sides)
        assert configuration(pair) == "off q8_0 tg48 @ d4096" and pair.as_dict()["test"] == "tg48", "the measured one's own"
        assert footnotes([pair]) == ["ratio: the quotient of what is shown; measured t/s are medians"]
    assert footnotes(comparison.within(predicted)) == ["ratio: the quotient of what is shown"]
    assert "Predicted; nothing was run." in page([predicted]) and "Median of all runs" in page([predicted, own])


PREDICTIONS = sorted((Path(__file__).parents[1] / "docs" / "results" / "predictions").glob("*.json"))


@pytest.mark.parametrize("file", PREDICTIONS, ids=lambda file: file.stem)
def test_the_predictions_of_this_repository_are_what_plan_says(run_cli: Cli, file: Path, tmp_path: Path) -> None:
    kept = json.loads(file.read_text(encoding="utf-8"))
    assert kept["kind"] == "prediction" and "avg_ts" not in kept
    again = run_cli(*shlex.split(kept["command"])[1:])
    assert json.loads(again.stdout) == kept, "docs/results/predictions/README.md says how to make them again"
    shown = run_cli("compare", str(file))
    numbers = [line for line in shown.stdout.splitlines() if " @ d" in line]
    assert numbers and all(line.count("(predicted)") == 2 and "a prediction is part of it" in line for line in numbers)
    drawn = run_cli("report", str(file), "--out", str(tmp_path / "p.html"))
    assert drawn.returncode == 0 and "predictions of a model, not measurements" in (tmp_path / "p.html").read_text(encoding="utf-8")
    refused = run_cli("plan", "llama-3.1-8b", "--gpu", "3090", "--results", str(file))
    assert refused.returncode == 1 and "is a prediction; a plan follows measurements alone" in refused.stderr


def test_there_are_predictions_for_the_cards_that_people_have() -> None:
    assert {file.name[:8] for file in PREDICTIONS} == {"rtx-3090", "rtx-4090"}


@pytest.mark.parametrize(
    ("speeds", "told"),
    [
        ({"off": {"xx": 50.0}}, 'its depth "xx" (mode off) is no whole number'),
        ({"off": {"0": 50.0, "8192": float("nan")}}, "its speed at depth 8192 (mode off) is NaN"),
        ({"off": {"0": "abc"}}, 'its speed at depth 0 (mode off) is "abc"'),
        ({"off": {"0": 50.0}, "exact": {"0": -3}}, "its speed at depth 0 (mode exact) is -3, not a number above 0"),
        ({"off": 50.0}, "its mode off has no speeds by depth"),
    ],
)
def test_a_damaged_prediction_is_refused_by_what_is_wrong(tmp_path: Path, speeds: dict[str, Any], told: str) -> None:
    file = tmp_path / "plan.json"
    file.write_text(json.dumps({"kind": "prediction", "model": ["m"], "kv": "q8_0", "tokens_per_second": speeds}), encoding="utf-8")
    with pytest.raises(UserError) as refused:
        comparison.load(file)
    assert told in str(refused.value) and "plan.json is a damaged prediction" in str(refused.value)


def test_names_of_one_model() -> None:
    assert same_model("llama-3.1-8b:Q4_K_M", "Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf")
    assert not same_model("llama-3.1-8b:Q4_K_M", "Llama-3.3-70B-Q4_K_M.gguf")
    assert not same_model("llama-3.1-8b:Q4_K_S", "Llama-3.1-8B-Q4_K_M.gguf")


def test_a_post_names_machines_and_command_lines_but_no_folders(tmp_path: Path) -> None:
    result = comparison.load(results_file(tmp_path / "a.jsonl", {"off": [50], "exact": [60]}))
    told = post([result], comparison.within(result))
    assert "| exact q8_0 tg64 @ d4096 / off | 50.00 | 60.00 | 1.200 |" in told
    assert "RTX 3090" in told and "series 0123" in told
    assert "llama-bench -m m.gguf -d 4096" in told and "/home" not in told


def test_the_plot_on_a_terminal(tmp_path: Path) -> None:
    result = comparison.load(bench(tmp_path, Plan((0, 4096, 8192), ("ranked",), rounds=1), fake_programs(tmp_path / "bin")).path)
    lines = text_plot([result])
    assert lines[1] == "tokens/s, KV q8_0" and any("8192 tokens deep" in line for line in lines)
    both = bench(tmp_path, Plan((0, 64), (), kvs=("q8_0", "q4_0"), rounds=1), fake_programs(tmp_path / "bin"), "both.jsonl").path
    assert [line for line in text_plot([comparison.load(both)]) if "KV" in line] == ["tokens/s, KV q4_0", "tokens/s, KV q8_0"]
    assert all(len(line) < 100 for line in lines) and max(map(len, text_plot([result], 20))) <= 31
    assert text_plot([comparison.load(results_file(tmp_path / "a.jsonl", {"off": [50]}))]) == []


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_the_plot_in_a_file(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("matplotlib", reason="pictures need the extra art-local[plot]")
    result = comparison.load(results_file(tmp_path / "a.jsonl", {"off": [50, 51], "exact": [60, 61]}))
    picture([result], tmp_path / f"p.{kind}")
    assert (tmp_path / f"p.{kind}").read_bytes()[:5] == {"svg": b"<?xml", "png": b"\x89PNG\r"}[kind]


def test_a_picture_takes_the_place_of_a_picture_alone(run_cli: Cli, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need the extra art-local[plot]")
    file = results_file(tmp_path / "a.jsonl", {"off": [50, 51], "exact": [60, 61]})
    for _ in range(2):
        assert run_cli("compare", str(file), "--plot", str(tmp_path / "new" / "p.svg")).returncode == 0
    assert run_cli("compare", str(file), "--plot", str(tmp_path / "p.png")).returncode == 0
    assert b"art-local compare" in (tmp_path / "p.png").read_bytes()[:4096]
    before = file.read_bytes()
    (tmp_path / "link.svg").symlink_to(file)
    (tmp_path / "other.svg").write_text("<svg/>", encoding="utf-8")
    for name, told in {"link.svg": "is one of the results", "other.svg": "did not make it"}.items():
        refused = run_cli("compare", str(file), "--plot", str(tmp_path / name))
        assert refused.returncode == 1 and told in refused.stderr and refused.stderr.count("\n") == 1
    assert file.read_bytes() == before


def test_a_missing_matplotlib_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match="pip install matplotlib"):
        picture([], tmp_path / "p.png")
    with pytest.raises(UserError, match="writes .svg or .png"):
        picture([], tmp_path / "p.pdf")


def test_the_command(run_cli: Cli, tmp_path: Path) -> None:
    first = results_file(tmp_path / "a.jsonl", {"off": [50, 51, 49]})
    second = results_file(tmp_path / "b.jsonl", {"off": [100, 101, 99]})
    done = run_cli("compare", str(first), str(second), "--price", "700,1400", "--json")
    pair = json.loads(done.stdout)["pairs"][0]
    assert pair["ratio"] == pytest.approx(2, rel=0.01) and pair["verdict"] == "faster" and pair["per_price"] == pytest.approx(1, rel=0.01)
    plain = run_cli("compare", str(first), str(second))
    assert plain.returncode == 0 and "faster" in plain.stdout and "\x1b" not in plain.stdout
    for wrong in (["--price", "7"], ["--price", "x,y"], ["--modes", "off"], ["--bandwidth", "0,1"], ["--plot", "x.pdf"]):
        refused = run_cli("compare", str(first), str(second), *wrong)
        assert refused.returncode == 2 and refused.stderr.startswith("error: ") and refused.stderr.count("\n") == 1
