"""Files that are written whole or not at all, and never over something else. Standard library only."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from art_local.errors import UsageError, UserError


def replace(path: Path, content: bytes) -> None:
    """Write beside, then rename: a full disk or a signal leaves the old file. Raises OSError, whose strerror says why.

    A link is followed; what is no plain file, or may not be written, stays.
    """
    path = Path(os.path.realpath(path))
    with beside(path) as part:
        with part.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        if path.exists():
            shutil.copymode(path, part)
        os.replace(part, path)
    sync_folder(path.parent)


def check(path: Path) -> None:
    """Raises as `replace` would: better before the work than after it."""
    with beside(Path(os.path.realpath(path))) as part:
        part.touch()


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A name in the same folder, of this process alone; nothing is left there."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
    if path.exists():
        if not path.is_file():
            raise OSError(errno.EINVAL, "it is no plain file", str(path))
        if not path.stat().st_mode & 0o222:  # asked of the file: the superuser may write anything
            raise PermissionError(errno.EACCES, "it is read-only", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.unlink(missing_ok=True)
    try:
        yield part
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """A rename is safe on the disk once its folder is; Windows knows no such thing."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    with suppress(OSError):
        os.fsync(handle)
    os.close(handle)


def fingerprint(path: Path) -> tuple[int, int] | None:
    """Another one after somebody wrote there."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_size, state.st_mtime_ns


def refuse_target(target: Path, option: str, sources: Iterable[Path], mark: bytes) -> None:
    """A page or a picture takes the place of an older one, which `mark` near its beginning tells, and of nothing else."""
    if str(target) in (".", "-"):  # a path made of '' is '.'
        raise UsageError(f"{option} takes the name of a file.")
    if not target.exists():
        return
    if any(source.exists() and target.samefile(source) for source in sources):
        raise UserError(f"{target} is one of the results; name another file by {option}.")
    try:
        check(target)
        with target.open("rb") as stream:
            ours = mark in stream.read(4096)
    except OSError as error:
        raise UserError(f"{target} is left as it is: {error.strerror or error}.") from None
    if not ours:
        raise UserError(f"{target} is there, and 'art-local' did not make it; name another file by {option}.")
