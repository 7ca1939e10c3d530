from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from emulation import adapted

from art_local import checkout, demo_model
from art_local.building.presets import Preset
from art_local.source.git import git


@pytest.fixture(scope="session")
def demo() -> Path:
    return demo_model.fetch(lambda text: None)


@pytest.fixture(scope="session")
def patched() -> Preset:
    return built("cpu")


@pytest.fixture(scope="session")
def stock() -> Preset:
    return built("cpu-stock")


@pytest.fixture(scope="session")
def emulated_device(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library with a device that runs the CUDA kernels on emulated threads."""
    if shutil.which("c++") is None:
        pytest.skip("needs a C++ compiler")
    return adapted.device(tmp_path_factory.mktemp("emulated"))


def built(name: str) -> Preset:
    preset = Preset(name)
    assert preset.is_built, f"tests marked 'built' need the preset {name}: make test builds it, make fast leaves them out"
    return preset


def script(name: str) -> ModuleType:
    """One of scripts/gpu as a module: they are no package."""
    spec = importlib.util.spec_from_file_location(name, checkout.ROOT / "scripts" / "gpu" / f"{name}.py")
    assert spec and spec.loader
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run_cli() -> object:
    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "art_local", *arguments],
            capture_output=True,
            text=True,
            cwd=checkout.ROOT,
            env={**os.environ, **environment},
        )

    return run


IDENTITY = {
    "GIT_AUTHOR_NAME": "A Tester",
    "GIT_AUTHOR_EMAIL": "tester@example.com",
    "GIT_AUTHOR_DATE": "2026-01-02T03:04:05+0000",
    "GIT_COMMITTER_NAME": "A Tester",
    "GIT_COMMITTER_EMAIL": "tester@example.com",
}


class Clone:
    """A small stand-in for this repository: an upstream of three files, pinned, with a series of two patches."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "clone"
        self.upstream = folder / "upstream"
        self.upstream.mkdir()
        git(self.upstream, "init", "--initial-branch=master")
        for name in ("one.c", "two.c", "three.c"):
            (self.upstream / name).write_text("".join(f"{name} line {number}\n" for number in range(20)))
        self.commit(self.upstream, "first import")
        self.pin = git(self.upstream, "rev-parse", "HEAD")
        self.root.mkdir()
        git(self.root, "init", "--initial-branch=main")
        (self.root / "patches").mkdir()
        self.write_pin(self.pin)
        (self.root / "patches" / "order").write_text("")
        (self.root / "patches" / "README.md").write_text("")
        (self.root / ".gitignore").write_text("build/\n")
        git(self.root, "-c", "protocol.file.allow=always", "submodule", "add", str(self.upstream), "llama.cpp")
        self.commit(self.root, "clone")

    def write_pin(self, commit: str, binding: str = "llama-cpp-python==0.3.36") -> None:
        text = f'{{"upstream": "{self.upstream.as_posix()}", "commit": "{commit}", "binding": "{binding}"}}'
        (self.root / "patches" / "pin.json").write_text(text)

    def commit(self, repository: Path, subject: str, body: str = "") -> str:
        git(repository, "add", "-A")
        git(repository, "commit", "--allow-empty", "-m", subject + (f"\n\n{body}" if body else ""), env=IDENTITY)
        return git(repository, "rev-parse", "HEAD")

    def change(self, file: Path, line: int, text: str) -> None:
        lines = file.read_text().splitlines()
        lines[line] = text
        file.write_text("".join(f"{each}\n" for each in lines))


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Clone]:
    yield Clone(tmp_path)
