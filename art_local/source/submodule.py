"""Filling llama.cpp/: from upstream where it answers, else from the repository inside the binding's source archive."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

from art_local import checkout
from art_local.errors import UserError
from art_local.source.git import GitError, git
from art_local.source.pin import Pin, read_pin

Say = Callable[[str], None]


def head(repository: Path) -> str | None:
    """The commit checked out in `repository`, None if it is no repository of its own."""
    try:
        if Path(git(repository, "rev-parse", "--show-toplevel")).resolve() != repository.resolve():
            return None
        return git(repository, "rev-parse", "--verify", "HEAD")
    except (GitError, FileNotFoundError, NotADirectoryError):
        return None


def fill(root: Path = checkout.ROOT, say: Say = print) -> None:
    """Leave a clean checkout of the pinned commit in llama.cpp/. Does nothing when it is there already."""
    pin = read_pin(root / "patches")
    tree = root / "llama.cpp"
    if head(tree) == pin.commit:
        refuse_edits(tree)
        return
    if not (root / ".git").exists():
        raise UserError(f"{root} is not a git clone; clone the repository with git, an unpacked archive has no submodule to fill.")
    if head(tree) is not None:
        refuse_edits(tree)
    url = declared_url(root)
    failure = unreachable(url)
    if failure is None:
        say(f"source: fetching llama.cpp {pin.commit[:12]} from {url}")
        try:
            update(root, None)
        except GitError as error:
            failure = str(error).splitlines()[-1]
    if head(tree) != pin.commit:
        say(f"source: upstream did not give it ({failure}); taking the repository that {pin.binding} carries")
        update(root, carried_repository(pin, say))
    if head(tree) != pin.commit:
        raise UserError(f"llama.cpp/ is at {head(tree)}, not at the pinned {pin.commit}; run 'git submodule update --init llama.cpp'.")


def refuse_edits(tree: Path) -> None:
    if git(tree, "status", "--porcelain", "--untracked-files=no"):
        raise UserError(f"{tree} has local changes, and the submodule is never modified; move them to a worktree of it.")


def declared_url(root: Path) -> str:
    """The address to fetch from: what this clone was configured with, else what .gitmodules says."""
    try:
        return git(root, "config", "submodule.llama.cpp.url")
    except GitError:
        return git(root, "config", "-f", ".gitmodules", "submodule.llama.cpp.url")


def unreachable(url: str, seconds: float = 8.0) -> str | None:
    """Why the host of an http(s) address does not answer, None if it does. git itself would wait for minutes."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or getproxies().get(parts.scheme):
        return None
    try:
        socket.create_connection((parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)), seconds).close()
    except OSError as error:
        return f"{parts.hostname}: {error}"
    return None


def update(root: Path, source: Path | None) -> None:
    override = ["-c", f"submodule.llama.cpp.url={source}"] if source else []
    settings = ["-c", "protocol.file.allow=always", "-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=30", *override]
    git(root, *settings, "submodule", "update", "--init", "--depth", "1", "llama.cpp", timeout=900)
    if source:  # the folder in the cache may go; the checkout must remember upstream
        git(root, "submodule", "sync", "llama.cpp")


def carried_repository(pin: Pin, say: Say) -> Path:
    """The shallow llama.cpp repository inside the binding's source archive, unpacked into the cache."""
    place = checkout.cache() / "source" / pin.commit
    repository = place / "llama.cpp.git"
    if (repository / "HEAD").exists():
        return repository
    archive = source_archive(pin, say)
    partial = place / "llama.cpp.git.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with tarfile.open(archive) as tar:
            unpack_repository(tar, partial)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise UserError(f"{archive} cannot be unpacked ({error}); delete it and try again.") from None
    partial.rename(repository)
    return repository


def unpack_repository(tar: tarfile.TarFile, target: Path) -> None:
    inside = re.compile(r"^[^/]+/\.git/modules/vendor/llama\.cpp/(.+)$")
    for member in tar:
        found = inside.match(member.name)
        if not found or not member.isfile() or ".." in Path(found[1]).parts:
            continue
        file = target / found[1]
        file.parent.mkdir(parents=True, exist_ok=True)
        content = tar.extractfile(member)
        if content is not None:
            file.write_bytes(content.read())
    if not (target / "HEAD").exists():
        raise UserError("the source archive of the binding holds no llama.cpp repository.")
    for folder in ("refs/heads", "refs/tags", "objects/info", "objects/pack"):  # git demands them, archives drop empty ones
        (target / folder).mkdir(parents=True, exist_ok=True)
    # its own settings name a work tree that is not here, and git would refuse to enter the folder
    (target / "config").write_text("[core]\n\trepositoryformatversion = 0\n\tbare = true\n", encoding="utf-8")


def source_archive(pin: Pin, say: Say) -> Path:
    downloads = checkout.cache() / "downloads"
    archive = downloads / f"{pin.binding_name.replace('-', '_')}-{pin.binding_version}.tar.gz"
    if archive.exists():
        return archive
    say(f"source: downloading the source archive of {pin.binding} (77 MB)")
    downloads.mkdir(parents=True, exist_ok=True)
    # pip finds the index the way this machine is set up for; it prints what went wrong last. Naming the one package matters:
    # "no binary at all" would compile CMake, which reading the archive's metadata asks for.
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", pin.binding_name, "--dest", str(downloads), pin.binding]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode or not archive.exists():
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise UserError(
            f"Neither {urlsplit(pin.upstream).hostname} nor the package index could be reached for llama.cpp ({reason}); connect this "
            f"machine, or put a clone that holds {pin.commit[:12]} somewhere and run 'git config submodule.llama.cpp.url PATH'."
        )
    return archive
