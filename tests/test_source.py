"""Filling the submodule: from upstream, or from the repository inside the binding's source archive."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from pathlib import Path

import pytest
from conftest import Clone

from art_local import checkout
from art_local.errors import UserError
from art_local.source import submodule
from art_local.source.git import git
from art_local.source.pin import read_pin


def fresh(clone: Clone, folder: Path) -> Path:
    """A clone as a newcomer has it: the submodule's folder is empty."""
    target = folder / "fresh"
    git(folder, "clone", str(clone.root), str(target))
    return target


def source_archive(clone: Clone, folder: Path, cache: Path) -> Path:
    """What the package index would serve: an archive with the upstream repository inside its own .git."""
    bare = folder / "carried"
    git(folder, "-c", "protocol.file.allow=always", "clone", "--bare", "--depth", "1", f"file://{clone.upstream}", str(bare))
    git(bare, "config", "core.bare", "false")
    git(bare, "config", "core.worktree", "../../../../vendor/llama.cpp")  # as the real one has it
    archive = cache / "downloads" / "llama_cpp_python-0.3.36.tar.gz"
    archive.parent.mkdir(parents=True)
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(bare, "llama_cpp_python-0.3.36/.git/modules/vendor/llama.cpp")
        note = tarfile.TarInfo("llama_cpp_python-0.3.36/README.md")
        tar.addfile(note, io.BytesIO())
    return archive


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ART_LOCAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def check_clean(root: Path, pin: str) -> None:
    assert git(root / "llama.cpp", "rev-parse", "HEAD") == pin
    assert git(root / "llama.cpp", "status", "--porcelain") == ""
    assert git(root, "status", "--porcelain") == ""


def test_filled_from_upstream(clone: Clone, tmp_path: Path) -> None:
    root = fresh(clone, tmp_path)
    said: list[str] = []
    submodule.fill(root, said.append)
    check_clean(root, clone.pin)
    assert "fetching" in said[0]
    submodule.fill(root, said.append)
    assert len(said) == 1, "a filled submodule is left alone"


def test_filled_from_the_source_archive_when_upstream_is_gone(clone: Clone, tmp_path: Path, cache: Path) -> None:
    source_archive(clone, tmp_path, cache)
    root = fresh(clone, tmp_path)
    upstream = git(root, "config", "-f", ".gitmodules", "submodule.llama.cpp.url")
    shutil.rmtree(clone.upstream)
    said: list[str] = []
    submodule.fill(root, said.append)
    check_clean(root, clone.pin)
    assert "carries" in said[-1]
    assert git(root / "llama.cpp", "remote", "get-url", "origin") == upstream, "the cache folder must not stay its origin"


def test_filled_from_the_source_archive_when_the_host_does_not_answer(clone: Clone, tmp_path: Path, cache: Path) -> None:
    source_archive(clone, tmp_path, cache)
    root = fresh(clone, tmp_path)
    git(root, "config", "submodule.llama.cpp.url", "http://127.0.0.1:9/llama.cpp.git")
    submodule.fill(root, lambda text: None)
    check_clean(root, clone.pin)


def test_neither_way_gives_one_sentence(clone: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = fresh(clone, tmp_path)
    shutil.rmtree(clone.upstream)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(UserError, match="submodule.llama.cpp.url"):
        submodule.fill(root, lambda text: None)


def test_a_broken_archive_is_named_and_leaves_nothing(clone: Clone, tmp_path: Path, cache: Path) -> None:
    archive = source_archive(clone, tmp_path, cache)
    archive.write_bytes(archive.read_bytes()[:500])
    root = fresh(clone, tmp_path)
    shutil.rmtree(clone.upstream)
    with pytest.raises(UserError, match="cannot be unpacked"):
        submodule.fill(root, lambda text: None)
    assert not (cache / "source" / clone.pin / "llama.cpp.git").exists()


def test_a_modified_submodule_is_refused(clone: Clone, tmp_path: Path) -> None:
    root = fresh(clone, tmp_path)
    submodule.fill(root, lambda text: None)
    (root / "llama.cpp" / "one.c").write_text("edited")
    with pytest.raises(UserError, match="never modified"):
        submodule.fill(root, lambda text: None)


def test_an_unpacked_archive_of_the_project_is_told_so(clone: Clone, tmp_path: Path) -> None:
    root = fresh(clone, tmp_path)
    shutil.rmtree(root / ".git")
    with pytest.raises(UserError, match="not a git clone"):
        submodule.fill(root, lambda text: None)


def test_pin_gitlink_and_requirement_agree() -> None:
    pin = read_pin()
    assert git(checkout.ROOT, "ls-files", "--stage", "llama.cpp").split()[:2] == ["160000", pin.commit]
    assert f'"{pin.binding}"' in (checkout.ROOT / "pyproject.toml").read_text()
    assert git(checkout.ROOT, "config", "-f", ".gitmodules", "submodule.llama.cpp.url") == pin.upstream
    assert pin.binding_name == "llama-cpp-python" and pin.binding_version.count(".") == 2


def test_the_pin_is_stated_once() -> None:
    """Whoever moves the pin edits patches/pin.json, the gitlink and the requirement; nothing else repeats the commit."""
    commit = json.loads((checkout.PATCHES / "pin.json").read_text())["commit"]
    files = git(checkout.ROOT, "grep", "-l", commit, "--", ".", ":!docs/results", ":!docs/log.md").splitlines()
    assert files == ["patches/pin.json"]
