"""Files are written whole or not at all, and over nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from art_local import files


def test_what_is_there_is_replaced_with_its_mode_and_through_links(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "file").chmod(0o640)
    (tmp_path / "link").symlink_to("file")
    files.replace(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "file").read_bytes() == b"new"
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640
    files.replace(tmp_path / "a" / "b", b"made")
    assert (tmp_path / "a" / "b").read_bytes() == b"made" and sorted(os.listdir(tmp_path)) == ["a", "file", "link"]


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_end_in_between_leaves_the_old_file_and_nothing_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    def broken(handle: int) -> None:
        raise failure

    (tmp_path / "file").write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(type(failure)):
        files.replace(tmp_path / "file", b"new")
    assert os.listdir(tmp_path) == ["file"] and (tmp_path / "file").read_bytes() == b"old"


def test_what_is_no_plain_file_stays(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "kept").write_bytes(b"old")
    (tmp_path / "kept").chmod(0o444)
    for name, why in {"pipe": "no plain file", "folder": "a folder", "kept": "read-only"}.items():
        for attempt in (lambda path: files.replace(path, b"new"), files.check):
            with pytest.raises(OSError, match=why):
                attempt(tmp_path / name)
    assert (tmp_path / "pipe").is_fifo() and (tmp_path / "kept").read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == ["folder", "kept", "pipe"]
