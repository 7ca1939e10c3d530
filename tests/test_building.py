"""Which preset a machine gets, what a build says while it runs, and how it fails."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from conftest import Clone

from art_local import checkout
from art_local.building import build, machine, origin, presets, toolchain
from art_local.building.build import first_error, parse_step
from art_local.building.machine import Card, Machine
from art_local.building.toolchain import Tool
from art_local.errors import UserError
from art_local.source.series import write_series
from art_local.source.trees import Checkout


def host(*cards: Card) -> Machine:
    return Machine("Linux 6", "x86_64", "a processor", 8, 2**34, cards)


HERE = Tool("nvcc", "/usr/local/cuda/bin/nvcc", "12.8", "")
MISSING = Tool("nvcc", None, None, "")


@pytest.mark.parametrize(
    ("cards", "nvcc", "expected"),
    [
        ((), MISSING, "cpu"),
        ((), HERE, "cpu"),
        ((Card("NVIDIA GeForce RTX 3090", 2**34, "8.6"),), HERE, "cuda"),
        ((Card("NVIDIA GeForce RTX 3090", 2**34, "8.6"),), MISSING, "cpu"),
        ((Card("Apple M3 Ultra", 2**36),), MISSING, "metal"),
    ],
)
def test_the_preset_suits_the_machine(cards: tuple[Card, ...], nvcc: Tool, expected: str) -> None:
    assert presets.suited(host(*cards), nvcc) == expected


def test_cards_are_parsed_and_unknown_stays_unknown() -> None:
    card = machine.parse_card("NVIDIA GeForce RTX 4090, 24564, 8.9, 550.54, 450.00")
    assert card == Card("NVIDIA GeForce RTX 4090", 24564 * 2**20, "8.9", "550.54", 450.0)
    odd = machine.parse_card("GRID A100, [N/A], 8.0, 550.54, [Not Supported]")
    assert odd is not None and odd.memory is None and odd.power_limit is None
    assert machine.parse_card("NVIDIA-SMI has failed") is None


def test_every_preset_has_a_stock_twin_and_a_build() -> None:
    text = json.loads((checkout.ROOT / "CMakePresets.json").read_text())
    names = presets.preset_names()
    assert {"cpu", "cuda", "cuda-3090", "cuda-4090", "cuda-5090", "cuda-all", "metal"} <= set(names)
    for name in names:
        assert presets.Preset(name).twin.name in names
    assert {each["configurePreset"] for each in text["buildPresets"]} == set(names)
    wanted = {"llama-server", "llama-bench", "llama-cli", "llama-perplexity", "llama-fit-params", "test-backend-ops"}
    assert all(wanted <= set(each["targets"]) for each in text["buildPresets"])


def test_an_unknown_preset_names_the_known_ones() -> None:
    with pytest.raises(UserError, match="cuda-3090"):
        presets.named("cuda-1080")


def test_no_build_yet_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "CMakePresets.json").write_text((checkout.ROOT / "CMakePresets.json").read_text())
    with pytest.raises(UserError, match="art-local build"):
        presets.built(root=tmp_path)
    with pytest.raises(UserError, match="art-local build --preset cpu"):
        presets.built("cpu", root=tmp_path)


def test_the_only_build_is_found(tmp_path: Path) -> None:
    (tmp_path / "CMakePresets.json").write_text((checkout.ROOT / "CMakePresets.json").read_text())
    program = presets.Preset("cuda-4090", tmp_path).program("llama-bench")
    program.parent.mkdir(parents=True)
    program.touch()
    assert presets.built(root=tmp_path).name == "cuda-4090"


def test_progress_lines() -> None:
    step = parse_step("[12/345] Building CXX object llama.cpp/src/CMakeFiles/llama.dir/llama-graph.cpp.o\n")
    assert step is not None and (step.done, step.total) == (12, 345)
    assert step.what == "Building llama.cpp/src/CMakeFiles/llama/llama-graph.cpp"
    assert parse_step("-- Configuring done") is None


LOG = """-- The C compiler identification is GNU
[1/9] Building CXX object a.cpp.o
FAILED: [code=1] a.cpp.o
/usr/bin/c++ -Werror -o a.cpp.o -c a.cpp
a.cpp: In function 'int main()':
a.cpp:3:5: error: 'x' was not declared in this scope
a.cpp:4:5: error: 'y' was not declared in this scope
ninja: build stopped: subcommand failed.
"""


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        (LOG, "a.cpp:3:5: error: 'x' was not declared in this scope"),
        (
            "-- ok\nCMake Error at CMakeLists.txt:3 (find_package):\n  Could not find CUDA\n",
            "CMake Error at CMakeLists.txt:3 (find_package): Could not find CUDA",
        ),
        ("fatal error: cuda.h: No such file\n", "fatal error: cuda.h: No such file"),
        ("all is well\n", "no line of the log names an error"),
    ],
)
def test_the_first_real_error_is_found(tmp_path: Path, log: str, expected: str) -> None:
    (tmp_path / "build.log").write_text(log)
    assert first_error(tmp_path / "build.log") == expected


def test_a_failing_build_names_the_error_and_the_log(tmp_path: Path) -> None:
    """A real CMake run over a project that does not compile."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "CMakePresets.json").write_text(
        '{"version": 3, "configurePresets": [{"name": "cpu", "generator": "Ninja", "binaryDir": "${sourceDir}/build/cpu"}],'
        '"buildPresets": [{"name": "cpu", "configurePreset": "cpu"}]}'
    )
    (project / "CMakeLists.txt").write_text("cmake_minimum_required(VERSION 3.21)\nproject(x CXX)\nadd_executable(x x.cpp)\n")
    (project / "x.cpp").write_text("int main() { return undeclared; }\n")
    steps: list[build.Step] = []
    with pytest.raises(UserError, match="undeclared") as caught:
        build.build(presets.Preset("cpu", project), 1, steps.append)
    assert str(project / "build" / "cpu" / "build.log") in str(caught.value)
    (project / "x.cpp").write_text("int main() { return 0; }\n")
    build.build(presets.Preset("cpu", project), 1, steps.append)
    assert steps[-1].done == steps[-1].total
    assert not build.needs_configuration(presets.Preset("cpu", project))
    moved = presets.Preset("cpu", project.rename(tmp_path / "moved"))
    assert build.needs_configuration(moved)
    build.build(moved, 1)


def test_a_missing_tool_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "compiler", lambda: Tool("C++ compiler", None, None, "apt install g++"))
    with pytest.raises(UserError, match="apt install g"):
        build.build(presets.Preset("cpu"))


def test_caches_lie_where_the_system_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ART_LOCAL_CACHE", raising=False)
    assert checkout.cache().name == "art-local"
    monkeypatch.setenv("ART_LOCAL_CACHE", os.sep + "elsewhere")
    assert checkout.cache() == Path(os.sep + "elsewhere")


def test_a_build_that_the_source_has_left_behind_is_named(clone: Clone, capsys: pytest.CaptureFixture[str]) -> None:
    text = (checkout.ROOT / "CMakePresets.json").read_text(encoding="utf-8")
    (clone.root / "CMakePresets.json").write_text(text, encoding="utf-8")
    source = Checkout(clone.root, say=lambda text: None)
    tree, preset = source.apply(), presets.Preset("cpu", clone.root)
    preset.programs.mkdir(parents=True)
    preset.program("llama-bench").write_text("")
    assert "not noted what the build 'cpu' was made from; run 'art-local build --preset cpu'" in origin.moved_on(preset)
    origin.note(preset)
    assert presets.built("cpu", clone.root) == preset and capsys.readouterr().err == ""
    assert origin.made_from(preset)["series"] == source.series().fingerprint
    (tree / "one.c").write_text("changed\n")
    clone.commit(tree, "one : change it")
    assert presets.built("cpu", clone.root) == preset
    told = capsys.readouterr().err
    assert told.startswith("warning: The build 'cpu' was made from ") and "its tree is at" in told and told.count("\n") == 1
    origin.note(preset)
    write_series(source.export(), source.patches)
    assert "patches/ holds" in origin.moved_on(preset)
    source.note_exported(source.series())
    origin.note(preset)
    assert origin.moved_on(preset) == ""
