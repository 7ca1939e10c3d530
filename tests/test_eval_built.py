"""The evaluation over the built library and a real model: it sees what a kernel reads, and what that costs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from art_local import checkout
from art_local.art import COUNTED, Struct
from art_local.building.presets import Preset
from art_local.eval.texts import prose

pytestmark = pytest.mark.built
Cli = Callable[..., "subprocess.CompletedProcess[str]"]
OPTIONS = "--kv q8_0 --modes ranked --eps 0 --force 10 --evict 16+64 --alone --positions 8 --greedy 0 --depths 30 --threads 1".split()


@pytest.fixture(scope="module")
def measured(patched: Preset, demo: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("eval")
    (folder / "text.txt").write_text(prose(5, 200))
    out = folder / "r.json"
    text = ["--texts", "1", "--text", str(folder / "text.txt")]
    arguments = ["eval", str(demo), "--ctx", "352", "--needles", "320", *text, "--preset", "cpu", *OPTIONS]
    command = [sys.executable, "-m", "art_local", *arguments, "--out", str(out)]
    # so small a context is read in full unless this says otherwise
    environment = {**os.environ, "GGML_ART_MIN_CELLS": "0"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=checkout.ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    assert "| q8_0 | exact |" in done.stdout
    assert out.with_suffix(".md").exists() and out.with_suffix(".svg").exists()
    content = json.loads(out.read_text())
    return {row["setting"]: row for row in content["summary"]} | {"records": content["records"]}


def test_exact_and_a_tolerance_of_zero_are_the_same(measured: dict[str, dict[str, Any]]) -> None:
    for label in ("exact", "ranked eps 0"):
        row = measured[label]
        assert row["text"]["kld_max"] == row["asked"]["kld_max"] == 0.0, label
        assert row["text"]["same_top"]["value"] == 1.0
        assert row["read_share"] == 1.0 and row["fallbacks"] == 0


def test_the_model_finds_the_needle_when_everything_is_read(measured: dict[str, dict[str, Any]]) -> None:
    assert measured["exact"]["needles"][0]["score"] == 1.0
    assert measured["ranked eps 0"]["needles"][0]["score"] == 1.0


def test_the_scale_is_there(measured: dict[str, dict[str, Any]]) -> None:
    (scale,) = (record for record in measured["records"] if record["kind"] == "scale")  # type: ignore[attr-defined]
    assert 0 < max(scale["comparison"]["kld"]) < 0.1


def test_a_forced_share_is_counted_by_the_kernel(measured: dict[str, dict[str, Any]]) -> None:
    row = measured["ranked force 0.1"]
    assert 0.1 < row["read_share"] < 0.8
    assert row["read_share"] < row["byte_share"] < row["read_share"] + 0.1
    assert row["text"]["kld_mean"]["value"] > 0


def test_what_the_cache_no_longer_holds_is_noticed_in_every_metric(measured: dict[str, dict[str, Any]]) -> None:
    """Eviction of nearly everything stands for a mode that reads the wrong tiles: the needle is gone."""
    exact, forced, evicted = measured["exact"], measured["ranked force 0.1"], measured["exact after eviction 16+64"]
    assert evicted["needles"][0]["score"] == 0.0 < exact["needles"][0]["score"]
    for part in ("text", "asked"):
        assert evicted[part]["kld_mean"]["value"] > 2 * forced[part]["kld_mean"]["value"]
        assert evicted[part]["kld_p99"]["value"] > 2 * forced[part]["kld_p99"]["value"]
        assert evicted[part]["kld_max"] > 2 * forced[part]["kld_max"]
    assert evicted["asked"]["same_top"]["value"] < exact["asked"]["same_top"]["value"]
    assert evicted["asked"]["perplexity_ratio"]["value"] > 1.02


def test_a_step_alone_is_decoded_over_what_exact_wrote(measured: dict[str, dict[str, Any]]) -> None:
    assert measured["ranked eps 0, each token alone"]["text"]["kld_max"] == 0.0
    along, alone = (
        next(record for record in measured["records"] if record["kind"] == "text" and record["setting"]["label"] == label)  # type: ignore[attr-defined]
        for label in ("ranked force 0.1", "ranked force 0.1, each token alone")
    )
    assert alone["comparison"]["kld"][0] == along["comparison"]["kld"][0], "nothing came before the first step"
    assert alone["comparison"]["kld"][1:] != along["comparison"]["kld"][1:] and min(alone["comparison"]["kld"]) > 0
    assert abs(alone["read_share"] - along["read_share"]) < 0.05


def test_eviction_composes_with_every_mode(measured: dict[str, dict[str, Any]]) -> None:
    """Early termination on top of an evicted cache: what ranked with eps 0 decodes there is what exact decodes there."""
    exact, ranked = (measured[f"{mode} after eviction 16+64"] for mode in ("exact", "ranked eps 0"))
    assert exact["byte_share"] == ranked["byte_share"] < 0.3, "relative to the cache as it was"
    assert exact["text"] == ranked["text"] and exact["needles"] == ranked["needles"]


def test_a_kept_prefill_gives_the_same_figures(patched: Preset, demo: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(prose(5, 200))
    command = [sys.executable, "-m", "art_local", "eval", str(demo), "--ctx", "352", "--texts", "1", "--text", str(tmp_path / "text.txt")]
    options = "--kv q8_0 --no-scale --modes ranked --force 10 --positions 8 --needles none --preset cpu --threads 1 --json".split()
    command += [*options, "--prefills", str(tmp_path / "states")]
    environment = {**os.environ, "GGML_ART_MIN_CELLS": "0"}
    first, second = (
        subprocess.run(command, capture_output=True, text=True, cwd=checkout.ROOT, env=environment, check=True) for _ in range(2)
    )
    assert "prefill" in first.stderr and "prefill" not in second.stderr
    assert json.loads(first.stdout) == json.loads(second.stdout)
    assert min(row["read_share"] for row in json.loads(first.stdout)) < 0.9


def test_tuning_keeps_the_states_that_an_evaluation_finds(patched: Preset, demo: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(prose(5, 400))
    given = f"{demo} --ctx 352 --texts 2 --text {tmp_path / 'text.txt'} --kv q8_0 --positions 4 --needles none --preset cpu --threads 1"
    kept = ["--prefills", str(tmp_path / "states")]

    def states(*words: str) -> dict[Path, int]:
        """With the time at which each was written."""
        command = [sys.executable, "-m", "art_local", *words, *given.split(), *kept]
        environment = {**os.environ, "GGML_ART_MIN_CELLS": "0"}
        subprocess.run(command, capture_output=True, text=True, cwd=checkout.ROOT, env=environment, check=True)
        return {path: path.stat().st_mtime_ns for path in (tmp_path / "states").iterdir()}

    after = states("tune", "--ladder", "0,0.4", "--out", str(tmp_path / "p.json"))
    assert len(after) == 2 and (tmp_path / "p.json").exists()
    assert states("eval", "--no-scale", "--modes", "ranked", "--greedy", "0") == after


FORGETFUL = """
import sys
from art_local.cli import app
from art_local.library import Session
Session.forget = lambda self, *range: False  # as a recurrent model's memory answers
sys.exit(app.main())
"""


def test_a_memory_that_takes_nothing_back_is_found_out_at_once(patched: Preset, demo: Path, tmp_path: Path) -> None:
    words = f"eval {demo} --ctx 352 --alone --preset cpu --threads 1 --out {tmp_path / 'r.json'}"
    done = subprocess.run([sys.executable, "-c", FORGETFUL, *words.split()], capture_output=True, text=True, cwd=checkout.ROOT)
    assert done.returncode == 1 and done.stderr == "error: This model's memory cannot take back a token: --alone is not for it.\n"
    assert not (tmp_path / "r.json").exists()


REFERENCE = """
import sys
from pathlib import Path
from art_local.building import presets
from art_local.eval import transformer
from art_local.eval.decoder import LibraryDecoder
from art_local.eval.decoding import along_text, exact_logits
from art_local.eval.reference_decoder import ReferenceDecoder
from art_local.eval.setting import EXACT, Setting
from art_local.eval.texts import prose
from art_local.library import Session, load
with Session(load(presets.built("cpu")), Path(sys.argv[1]), 512, "f16", threads=1) as session:
    library = LibraryDecoder(session)
    decoder = ReferenceDecoder(library, transformer.read(Path(sys.argv[1])))
    tokens = decoder.tokens(prose(5, 60))[:229]
    decoder.prefill(tokens[:224])
    exact = exact_logits(library, tokens, 4)
    settings = [Setting(policy="numpy exact"), Setting(policy="worst tiles (test)", budget=0.3)]
    for outcome in along_text(decoder, tokens, 4, 0, settings, exact):
        print(max(outcome.comparison.kld))
"""


def test_the_numpy_reference_is_the_model_that_the_library_runs(patched: Preset, demo: Path) -> None:
    done = subprocess.run([sys.executable, "-c", REFERENCE, str(demo)], capture_output=True, text=True, cwd=checkout.ROOT)
    assert done.returncode == 0, done.stderr
    exact, worst = map(float, done.stdout.split())
    assert exact < 0.03, "the library rounds activations to 8 bits, numpy does not: that much they may differ"
    assert worst > 5 * exact


def test_the_structures_are_those_of_the_header(patched: Preset) -> None:
    header = (checkout.BUILD / "tree" / "include" / "llama-art.h").read_text()
    kinds = {"int32_t": "c_int", "float": "c_float", "int64_t": "c_long"}

    def members(name: str) -> list[tuple[str, str]]:
        body = re.search(rf"struct {name} {{(.*?)}};", header, re.DOTALL)
        assert body, name
        return [(member, kinds[kind]) for kind, member in re.findall(r"^\s*(\w+)\s+(\w+);", body[1], re.MULTILINE)]

    assert members("llama_art_params") == [(field[0], field[1].__name__) for field in Struct._fields_]
    assert [name for name, _ in members("llama_art_counters")] == list(COUNTED)


PARAMETERS = """
import ctypes
import sys
from pathlib import Path
from art_local import art
from art_local.building import presets
from art_local.errors import UserError
from art_local.library import Session, load
llama = load(presets.built("cpu"))
def current():
    struct = art.Struct()
    art.library(llama).llama_get_art(session.context, ctypes.byref(struct))
    return {name: getattr(struct, name) for name, _ in struct._fields_}
with Session(llama, Path(sys.argv[1]), 256, threads=1) as session:
    assert current()["mode"] == art.MODES.index("off")
    art.apply(llama, session.context, art.ArtParams(mode="ranked", eps=0.25, window=96))
    found = current()
    assert (found["mode"], found["eps"], found["window"]) == (art.MODES.index("ranked"), 0.25, 96), found
    assert found["patience"] and found["sink"], "the library's own defaults"
    assert set(art.modes(llama, session.context)) == set(art.MODES)
    for wrong in (art.ArtParams(mode="ranked", eps=-1.0), art.ArtParams(mode="none")):
        try:
            art.apply(llama, session.context, wrong)
            raise SystemExit(f"{wrong} was taken")
        except UserError as error:
            print(error)
    art.apply_layer_eps(llama, session.context, [0.1] * art.layers(llama, session.context))
    art.apply_layer_eps(llama, session.context, [])
    assert current() == found, "what was refused changed nothing"
"""


def test_parameters_go_to_the_library_and_come_back(patched: Preset, demo: Path) -> None:
    done = subprocess.run([sys.executable, "-c", PARAMETERS, str(demo)], capture_output=True, text=True, cwd=checkout.ROOT)
    assert done.returncode == 0, done.stderr + done.stdout
    refused, unknown = done.stdout.splitlines()
    assert "eps" in refused and "choose one of off, exact, stability, ranked" in unknown


def test_with_the_kill_switch_nothing_is_measured(run_cli: Cli, patched: Preset, demo: Path) -> None:
    done = run_cli("eval", str(demo), "--ctx", "512", "--preset", "cpu", GGML_ART_DISABLE="1")
    assert done.returncode == 1 and done.stderr.startswith("error: GGML_ART_DISABLE is set")


def test_a_context_beyond_what_the_model_was_trained_on_is_refused(run_cli: Cli, patched: Preset, demo: Path) -> None:
    done = run_cli("eval", str(demo), "--ctx", "16k", "--preset", "cpu")
    assert done.returncode == 1 and "trained on contexts of 8192" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
