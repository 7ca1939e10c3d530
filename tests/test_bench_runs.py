"""Running a plan: what is kept, what is skipped, what goes on after an interruption."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bench_stand_in import asked, bench, facts, fake_programs

from art_local.bench.clock import Clock
from art_local.bench.configuration import Configuration, Plan
from art_local.bench.failure import explain
from art_local.bench.results import Results, read
from art_local.bench.rounds import Bench, Progress
from art_local.bench.runner import run
from art_local.bench.summary import summarize
from art_local.errors import UsageError, UserError


def test_every_run_is_kept_with_llama_bench_own_words(tmp_path: Path) -> None:
    programs = fake_programs(tmp_path / "bin")
    results = bench(tmp_path, Plan((0, 512), ("ranked",), rounds=2, prompt=256), programs)
    lines = read(results.path)
    assert len(lines) == 2 * 2 * 2 * 2  # depths, modes, rounds, prefill and generation
    own = json.loads(run([str(programs.folder / "llama-bench"), *Configuration().arguments("m", True)]).records[0])
    assert set(own) <= set(lines[0].record)
    assert lines[0].record["new_field"] == [1, 2]
    assert lines[0].get("facts", "model", "sha256") == "5ha"
    if hasattr(os, "wait4"):
        assert lines[0].get("memory", "host") > 1 << 20
    assert lines[0].get("memory", "device") is None


def test_out_of_memory_is_asked_for_aloud_named_and_deeper_ones_are_skipped(tmp_path: Path) -> None:
    programs = fake_programs(tmp_path / "bin", memory=4096)
    rows = summarize(bench(tmp_path, Plan((0, 4096, 8192), ("exact",), rounds=2), programs).parsed())
    off = [(row.key.depth, row.failure) for row in rows if row.key.mode == "off"]
    assert off == [(0, None), (4096, "out of memory"), (8192, "skipped")]
    failed = next(row for row in rows if row.failure == "out of memory")
    assert failed.sentence == "ggml_backend_cpu: failed to allocate buffer of size 99"
    tried = [line for line in asked(programs) if "-d 4096" in line]
    assert len(tried) == 4  # once and once aloud, for each mode; not again in the second round
    assert not [line for line in asked(programs) if "-d 8192" in line]


def test_a_refused_mode_is_named_and_the_others_run(tmp_path: Path) -> None:
    programs = fake_programs(tmp_path / "bin", refused=["stability"])
    rows = summarize(bench(tmp_path, Plan((0, 64), ("stability", "ranked"), rounds=1), programs).parsed())
    refused = [row for row in rows if row.key.mode == "stability"]
    assert [row.failure for row in refused] == ["refused", "skipped"]
    assert refused[0].sentence == "error: --art stability: no backend of this build implements it"
    assert all(row.samples for row in rows if row.key.mode != "stability")


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("llama_set_art: art mode 'ranked' has no kernel on CUDA0", "refused"),
        ("error: art: eps per layer needs 32 values for this model, not 3", "refused"),
        ("common_init: --art ranked refused: no backend of this build implements it", "refused"),
        ("llama_set_art: art: no memory for the summaries and counters of the KV cache", "out of memory"),
        ("error: failed to load model '/home/me/.cache/art-local/models/a/b.gguf'", "failed"),
    ],
)
def test_the_series_own_words_are_told_from_a_path(said: str, kind: str) -> None:
    assert explain(1, [said]).kind == kind


def test_several_settings_in_one_run_are_refused(tmp_path: Path) -> None:
    """Their records would be pooled as repetitions of one."""
    programs = fake_programs(tmp_path / "bin")
    with pytest.raises(UsageError, match="--extra makes llama-bench measure several settings in one run"):
        bench(tmp_path, Plan((0,), ("exact",), rounds=2, extra=("-t", "1,2")), programs)
    assert not (tmp_path / "r.jsonl").exists()


def test_a_usage_error_ends_the_bench_at_once(tmp_path: Path) -> None:
    programs = fake_programs(tmp_path / "bin", usage="--nosuch")
    with pytest.raises(UsageError, match="llama-bench refuses its command line: invalid parameter for argument: --nosuch"):
        bench(tmp_path, Plan((0, 64), ("exact",), rounds=2, extra=("--nosuch", "1")), programs)
    assert len(asked(programs)) == 1 and not (tmp_path / "r.jsonl").exists()


def test_a_build_without_the_flags_refuses_modes_but_measures(tmp_path: Path) -> None:
    programs = fake_programs(tmp_path / "bin", art=False)
    rows = summarize(bench(tmp_path, Plan((0,), ("exact",), rounds=1), programs).parsed())
    assert [row.failure for row in rows] == [None, "refused"]
    assert not any("--art" in line for line in asked(programs))


@pytest.mark.parametrize(("number", "kind"), [(9, "out of memory"), (6, "failed"), (11, "failed")])
def test_a_program_that_dies_is_named(tmp_path: Path, number: int, kind: str) -> None:
    programs = fake_programs(tmp_path / "bin", signal=number)
    rows = summarize(bench(tmp_path, Plan((0,), (), rounds=1), programs).parsed())
    assert rows[0].failure == kind
    assert rows[0].sentence and ("signal 9" in rows[0].sentence or signal.Signals(number).name in rows[0].sentence)


def test_batches_go_through_the_batched_bench(tmp_path: Path) -> None:
    programs = fake_programs(tmp_path / "bin")
    rows = summarize(bench(tmp_path, Plan((512,), ("ranked",), batches=(1, 4), rounds=1), programs).parsed())
    assert [(row.key.mode, row.key.batch, bool(row.samples)) for row in rows] == [
        *(("off", 1, True), ("ranked", 1, True), ("off", 4, True), ("ranked", 4, True))
    ]
    assert len(asked(programs, "llama-batched-bench")) == 2


def test_resume_runs_only_what_is_missing_and_tries_failures_again(tmp_path: Path) -> None:
    plan = Plan((0, 4096), ("exact",), rounds=2)
    bench(tmp_path, plan, fake_programs(tmp_path / "bin", memory=4096))
    programs = fake_programs(tmp_path / "better")
    rows = summarize(bench(tmp_path, plan, programs, resume=True).parsed())
    assert len(asked(programs)) == 4 and all("-d 4096" in line for line in asked(programs))
    assert [len(row.rounds) for row in rows] == [2, 2, 2, 2] and not any(row.failure for row in rows)


def test_resume_refuses_another_model_and_a_finished_file_is_not_overwritten(tmp_path: Path) -> None:
    plan, programs = Plan((0,), (), rounds=1), fake_programs(tmp_path / "bin")
    bench(tmp_path, plan, programs)
    with pytest.raises(UserError, match="another model"):
        bench(tmp_path, plan, programs, resume=True, about=facts("other"))
    with pytest.raises(UserError, match="another machine"):
        bench(tmp_path, plan, programs, resume=True, about=facts(card="RTX 4090"))
    with pytest.raises(UserError, match="there already"):
        bench(tmp_path, plan, programs)


def test_the_users_settings_for_other_programs_stay_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAMA_ARG_CTX_SIZE", "1")
    monkeypatch.setenv("GGML_ART_DISABLE", "1")
    outcome = run([sys.executable, "-c", "import os, sys; sys.exit(any(k.startswith(('LLAMA_ARG', 'GGML_ART')) for k in os.environ))"])
    assert outcome.code == 0


def test_an_interrupt_ends_the_program_and_keeps_what_is_done(tmp_path: Path) -> None:
    programs = fake_programs(tmp_path / "bin")
    results = Results.start(tmp_path / "r.jsonl", False)

    def watch(progress: Progress) -> None:
        if progress.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Bench(Path("m"), Plan((0, 64), ("exact",), rounds=1), programs, facts(), results, watch).run()
    assert len(read(results.path)) == 2


def test_an_interrupted_run_leaves_no_program_behind() -> None:
    def say(text: str) -> None:
        raise AssertionError("never called: the program prints nothing")

    class Interrupting:
        def start(self, process: int) -> None:
            self.process = process
            raise KeyboardInterrupt

        def stop(self) -> list[object]:
            return []

    watch = Interrupting()
    with pytest.raises(KeyboardInterrupt):
        run([sys.executable, "-c", "import time; time.sleep(60)"], say, watch)  # type: ignore[arg-type]
    with pytest.raises(ProcessLookupError):
        os.kill(watch.process, 0)


def test_the_time_left_comes_from_what_was_timed() -> None:
    clock, shallow, deep = Clock(), Configuration(depth=0), Configuration(depth=1 << 20)
    assert clock.left([shallow]) is None
    clock.note(shallow, 2.0)
    assert clock.left([shallow, shallow]) == pytest.approx(4.0)
    guess = clock.left([deep])
    assert guess and guess > 20


DRIVER = """
import sys
from pathlib import Path
sys.path[:0] = [{tests!r}, {root!r}]
from bench_stand_in import FakePrograms, facts
from art_local.bench.configuration import Plan
from art_local.bench.results import Results
from art_local.bench.rounds import Bench

class Telling(Results):
    def add(self, lines):
        super().add(lines)
        print(len(self.lines), flush=True)

results = Telling.start(Path({out!r}), True)
Bench(Path("m"), Plan(tuple(range(0, 3000, 100)), ("exact",), rounds=4), FakePrograms(Path({bin!r})), facts(), results).run()
"""


def test_sigkill_at_twenty_random_points_loses_no_row_and_breaks_no_line(tmp_path: Path) -> None:
    fake_programs(tmp_path / "bin")
    out, tests = tmp_path / "r.jsonl", Path(__file__).parent
    driver = DRIVER.format(tests=str(tests), root=str(tests.parent), out=str(out), bin=str(tmp_path / "bin"))
    dice, told = random.Random(5), 0
    for _ in range(20):
        process = subprocess.Popen([sys.executable, "-c", driver], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        first = process.stdout.readline()  # the kill falls into the work, not into the imports
        time.sleep(dice.uniform(0, 0.15))
        process.kill()
        told = max([told, *(int(line) for line in [first, *process.stdout] if line.strip())])
        process.wait()
        process.stdout.close()
        content = out.read_bytes()
        assert content.endswith(b"\n")
        lines = [json.loads(line) for line in content.decode().splitlines()]
        assert len(lines) >= told
        assert all("avg_ts" in line and "art_local" in line for line in lines)
        ours = [line["art_local"] for line in lines]
        runs = [(one["round"], one["configuration"]["depth"], one["configuration"]["mode"]) for one in ours]
        assert len(set(runs)) == len(runs), "a resumed bench repeats nothing"
    assert told >= 20
