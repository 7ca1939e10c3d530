"""The patch series: mail-format files in patches/, in the sequence that patches/order lists."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from art_local.checkout import PATCHES
from art_local.errors import UserError
from art_local.files import replace
from art_local.source.git import ALONE, GitError, git, git_bytes

FORMAT = (
    "--full-index --zero-commit --no-signature --no-numbered --no-stat --keep-subject --no-attach --no-thread --no-cover-letter "
    "--src-prefix=a/ --dst-prefix=b/ --no-color --no-base --binary --no-from --no-to --no-cc --no-add-header --no-signoff"
).split()


class SeriesError(UserError):
    """The series itself is at fault; `patch` names the culprit."""

    def __init__(self, patch: str, message: str) -> None:
        super().__init__(message)
        self.patch = patch


@dataclass(frozen=True)
class Patch:
    name: str
    content: bytes

    @property
    def subject(self) -> str:
        found = re.search(rb"^Subject: (.*(?:\n[ \t].*)*)", self.content, re.MULTILINE)
        return re.sub(r"\s*\n\s+", " ", found[1].decode("utf-8", "replace")) if found else "(no subject)"

    @property
    def files(self) -> list[str]:
        return [found.decode() for found in re.findall(rb"^diff --git a/.* b/(.*)$", self.content, re.MULTILINE)]


@dataclass(frozen=True)
class Series:
    base: str
    patches: tuple[Patch, ...]

    @property
    def fingerprint(self) -> str:
        """A name for exactly these patches on exactly this base."""
        digest = hashlib.sha256(self.base.encode())
        for patch in self.patches:
            digest.update(patch.name.encode() + b"\0" + patch.content)
        return digest.hexdigest()[:16]


def read_series(base: str, folder: Path = PATCHES) -> Series:
    """Read what `order` lists, and refuse a folder in which list and files disagree."""
    order = folder / "order"
    if not order.exists():
        raise UserError(f"{order} is missing; it lists the patches, one file name a line.")
    names = [line.strip() for line in order.read_text(encoding="utf-8").splitlines() if line.strip()]
    for name, times in Counter(names).items():
        if times > 1:
            raise SeriesError(name, f"{name} is a duplicate: patches/order lists it {times} times.")
        if not (folder / name).is_file():
            raise SeriesError(name, f"{name} is listed in patches/order, but there is no such file.")
    for file in sorted(folder.glob("*.patch")):
        if file.name not in names:
            raise SeriesError(file.name, f"{file.name} is unused: patches/order does not list it.")
    patches = tuple(Patch(name, (folder / name).read_bytes()) for name in names)
    contents: dict[bytes, str] = {}
    for patch in patches:
        body = patch.content.partition(b"\ndiff --git ")[2] or patch.name.encode()
        if other := contents.get(body):
            raise SeriesError(patch.name, f"{patch.name} is a duplicate: it makes the same change as {other}.")
        contents[body] = patch.name
    return Series(base, patches)


def commit_series(repository: Path, series: Series) -> list[str]:
    """Turn the series into commits without touching any working tree; the same series gives the same commit ids."""
    commits = [series.base]
    with tempfile.TemporaryDirectory() as scratch:
        index = {"GIT_INDEX_FILE": str(Path(scratch) / "index")}
        git(repository, "read-tree", series.base, env=index)
        for position, patch in enumerate(series.patches):
            try:
                commits.append(commit_patch(repository, patch, commits[-1], index, Path(scratch)))
            except GitError as error:
                raise SeriesError(patch.name, explain_failure(repository, series, position, error)) from error
    return commits[1:]


def commit_patch(repository: Path, patch: Patch, parent: str, index: dict[str, str], scratch: Path) -> str:
    message, diff = scratch / "message", scratch / "diff"
    headers = git(repository, "mailinfo", "-b", "--encoding=UTF-8", str(message), str(diff), stdin=patch.content, env=ALONE)
    mail = dict(line.partition(": ")[::2] for line in headers.splitlines() if ": " in line)
    if diff.stat().st_size == 0:
        raise GitError(["apply"], 1, "the file holds no change")
    git(repository, "apply", "--cached", "--whitespace=nowarn", str(diff), env={**index, **ALONE})
    author = {"AUTHOR_NAME": mail.get("Author", ""), "AUTHOR_EMAIL": mail.get("Email", ""), "AUTHOR_DATE": mail.get("Date", "")}
    identity = {f"GIT_{key}": value for key, value in author.items()}
    identity |= {key.replace("AUTHOR", "COMMITTER"): value for key, value in identity.items()}
    body = message.read_text(encoding="utf-8").strip()
    text = mail.get("Subject", "") + (f"\n\n{body}" if body else "") + "\n"
    tree = git(repository, "write-tree", env=index)
    return git(repository, "commit-tree", tree, "-p", parent, env=identity, stdin=text.encode("utf-8"))


def explain_failure(repository: Path, series: Series, position: int, error: GitError) -> str:
    """Say which patch does not apply, and whether a later one was meant to come first."""
    patch = series.patches[position]
    for later in series.patches[position + 1 :]:
        candidate = Series(series.base, (*series.patches[:position], later, patch))
        if applies(repository, candidate):
            return f"{patch.name} is out of order: it applies only after {later.name}."
    first = next((line for line in error.stderr.splitlines() if line.startswith("error:")), error.stderr.strip() or str(error))
    return f"{patch.name} does not apply: {first.removeprefix('error: ')}."


def applies(repository: Path, series: Series) -> bool:
    with tempfile.TemporaryDirectory() as scratch:
        index = {"GIT_INDEX_FILE": str(Path(scratch) / "index")}
        git(repository, "read-tree", series.base, env=index)
        try:
            for patch in series.patches:
                git(repository, "apply", "--cached", "--whitespace=nowarn", "-", env=index, stdin=patch.content)
        except GitError:
            return False
    return True


def format_commits(repository: Path, base: str, tip: str) -> Series:
    """The commits base..tip as patches that come out the same every time."""
    commits = git(repository, "rev-list", "--reverse", "--no-merges", f"{base}..{tip}").split()
    patches: list[Patch] = []
    for commit in commits:
        content = git_bytes(repository, "format-patch", *FORMAT, "--stdout", "-1", commit, env=ALONE)
        subject = git(repository, "show", "-s", "--format=%s", commit)
        name = file_name(subject)
        if any(patch.name == name for patch in patches):
            raise UserError(f"Two commits have the subject '{subject}'; file names come from subjects, so reword one.")
        patches.append(Patch(name, content))
    return Series(base, tuple(patches))


def file_name(subject: str) -> str:
    """ggml : carry parameters -> ggml-carry-parameters.patch. No number: inserting a patch renames nothing."""
    return re.sub(r"[^a-z0-9]+", "-", subject.lower()).strip("-")[:72].rstrip("-") + ".patch"


def write_series(series: Series, folder: Path = PATCHES) -> list[str]:
    """Write the files that changed, drop those no longer listed; returns the names touched. The list comes last."""
    touched = []
    for patch in series.patches:
        file = folder / patch.name
        if not file.exists() or file.read_bytes() != patch.content:
            replace(file, patch.content)
            touched.append(patch.name)
    order, content = folder / "order", "".join(f"{patch.name}\n" for patch in series.patches).encode()
    if not order.exists() or order.read_bytes() != content:  # a new time would make CMake configure again
        replace(order, content)
    kept = {patch.name for patch in series.patches}
    for file in sorted(folder.glob("*.patch")):
        if file.name not in kept:
            file.unlink()
            touched.append(file.name)
    return touched
