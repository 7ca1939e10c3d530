"""Trees to build from: worktrees of the submodule under build/, one patched, one stock. The submodule stays clean."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from art_local import checkout
from art_local.errors import UserError
from art_local.files import replace
from art_local.source import submodule
from art_local.source.git import GitError, git
from art_local.source.pin import read_pin
from art_local.source.series import Series, SeriesError, commit_series, format_commits, read_series

Say = Callable[[str], None]
DROP = "git -C llama.cpp worktree remove --force ../build/tree-conflict"


class Checkout:
    """One clone of this repository: its submodule, its patches, its trees."""

    def __init__(self, root: Path = checkout.ROOT, say: Say = print) -> None:
        self.root, self.say = root, say
        self.pin = read_pin(root / "patches")
        self.upstream = root / "llama.cpp"
        self.patches = root / "patches"
        self.patched = root / "build" / "tree"
        self.stock = root / "build" / "tree-stock"
        self.conflict = root / "build" / "tree-conflict"
        self.record = root / "build" / "tree.json"

    def series(self) -> Series:
        return read_series(self.pin.commit, self.patches)

    def apply(self) -> Path:
        """Bring build/tree to the series. Files whose content stays keep their time, so that little is rebuilt."""
        submodule.fill(self.root, self.say)
        series = self.series()
        if self.applied() == series.fingerprint:
            return self.patched
        self.refuse_unexported()
        tip = (commit_series(self.upstream, series) or [series.base])[-1]
        self.place(self.patched, tip)
        replace(self.record, json.dumps({"series": series.fingerprint, "commit": tip}).encode())
        self.say(f"source: build/tree is at {len(series.patches)} patches (series {series.fingerprint})")
        return self.patched

    def plain(self) -> Path:
        """The unpatched twin."""
        submodule.fill(self.root, self.say)
        self.place(self.stock, self.pin.commit)
        return self.stock

    def applied(self) -> str | None:
        """The series that build/tree holds, unchanged; None if there is no tree or it has moved on."""
        recorded = self.recorded()
        if recorded is None or submodule.head(self.mended(self.patched)) != recorded["commit"]:
            return None
        return recorded["series"] if not self.edits(self.patched) else None

    def recorded(self) -> dict[str, str] | None:
        try:
            record: dict[str, str] = json.loads(self.record.read_text(encoding="utf-8"))
            return record if {"series", "commit"} <= record.keys() else None
        except (OSError, ValueError):
            return None

    def refuse_unexported(self) -> None:
        """Work in build/tree that patches/ does not hold must not be lost."""
        tip = submodule.head(self.mended(self.patched))
        if tip is None:
            return
        if self.edits(self.patched):
            raise UserError("build/tree has uncommitted changes; commit them and run 'art-local patches export', or discard them there.")
        recorded = self.recorded()
        if recorded is None or tip != recorded["commit"]:
            raise UserError(
                "build/tree has commits that patches/ does not hold; run 'art-local patches export', or drop them with "
                f"'git -C build/tree checkout --detach {(recorded or {}).get('commit', self.pin.commit)}'."
            )

    def edits(self, tree: Path) -> str:
        return git(tree, "status", "--porcelain")

    def place(self, tree: Path, commit: str) -> None:
        if submodule.head(self.mended(tree)) is None:
            tree.parent.mkdir(exist_ok=True)
            for other in (self.patched, self.stock, self.conflict):
                self.mended(other)  # prune drops the records of trees that it cannot find
            git(self.upstream, "worktree", "prune")
            git(self.upstream, "worktree", "add", "--force", "--detach", str(tree), commit)
        elif git(tree, "rev-parse", "HEAD") != commit:
            git(tree, "checkout", "--detach", commit)

    def mended(self, tree: Path) -> Path:
        """Worktree and repository know each other by absolute path; after the checkout was moved or copied, both must be told."""
        link = tree / ".git"
        if link.is_file():
            name = Path(link.read_text(encoding="utf-8").partition(":")[2].strip()).name
            record = Path(git(self.upstream, "rev-parse", "--absolute-git-dir")) / "worktrees" / name
            if not record.is_dir():
                raise UserError(f"{tree} lost its repository; delete that folder and try again.")
            for file, text in ((link, f"gitdir: {record.as_posix()}\n"), (record / "gitdir", f"{link.as_posix()}\n")):
                if file.read_text(encoding="utf-8") != text:
                    file.write_text(text, encoding="utf-8")
        return tree

    def export(self, tree: Path | None = None, base: str | None = None) -> Series:
        """The commits of build/tree as a series. Nothing is written here."""
        source = self.mended(tree or self.patched)
        if submodule.head(source) is None:
            raise UserError(f"{source} is not there; run 'art-local patches apply' first.")
        if self.edits(source):
            raise UserError(f"{source} has uncommitted changes; commit them first, each commit becomes a patch.")
        if (Path(git(source, "rev-parse", "--absolute-git-dir")) / "rebase-apply").exists():
            raise UserError(f"{source} is in the middle of 'git am'; finish it with 'git am --continue' there first.")
        return format_commits(source, base or self.pin.commit, "HEAD")

    def note_exported(self, series: Series) -> None:
        """After an export of build/tree the tree holds the series as written."""
        tip = git(self.patched, "rev-parse", "HEAD")
        replace(self.record, json.dumps({"series": series.fingerprint, "commit": tip}).encode())

    def verify(self) -> Series:
        """Apply on a clean base, export again, compare every byte. No working tree, no build."""
        submodule.fill(self.root, self.say)
        series = self.series()
        commits = commit_series(self.upstream, series)
        again = format_commits(self.upstream, series.base, commits[-1] if commits else series.base)
        for patch, copy in zip(series.patches, again.patches, strict=True):
            if patch.name != copy.name:
                raise SeriesError(
                    patch.name, f"{patch.name} does not carry the name of its subject, {copy.name}; run 'art-local patches export'."
                )
            if patch.content != copy.content:
                raise SeriesError(patch.name, f"{patch.name} is not what an export writes; change the tree and export, never the file.")
        index = (self.patches / "README.md").read_text(encoding="utf-8")
        for patch in series.patches:
            if f"`{patch.name}`" not in index:
                raise SeriesError(patch.name, f"{patch.name} has no row in patches/README.md.")
        return series

    def rebase(self, revision: str) -> tuple[Path, str]:
        """Replay the series on another upstream commit in a tree of its own; a conflict is left there to be solved."""
        submodule.fill(self.root, self.say)
        base = self.resolve(revision)
        series = self.series()
        if submodule.head(self.mended(self.conflict)) is not None:
            raise UserError(f"build/tree-conflict is left from an earlier rebase; finish that, or drop it with '{DROP}'.")
        self.place(self.conflict, base)
        identity = {"GIT_COMMITTER_NAME": "art-local", "GIT_COMMITTER_EMAIL": "art-local@localhost"}
        files = [str(self.patches / patch.name) for patch in series.patches]
        try:
            if files:
                git(self.conflict, "am", "--3way", "--keep", *files, env=identity)
        except GitError as error:
            raise UserError(conflict_advice(error, base)) from None
        return self.conflict, base

    def resolve(self, revision: str) -> str:
        try:
            return git(self.upstream, "rev-parse", "--verify", f"{revision}^{{commit}}")
        except GitError:
            pass
        url = submodule.declared_url(self.root)
        if why := submodule.unreachable(url):
            raise UserError(f"'{revision}' is no commit of llama.cpp/ and could not be fetched: {why}.")
        try:
            git(self.upstream, "fetch", "--depth", "1", url, revision, timeout=600)
            return git(self.upstream, "rev-parse", "FETCH_HEAD")
        except GitError as error:
            raise UserError(f"'{revision}' is no commit of llama.cpp/ and could not be fetched: {str(error).splitlines()[-1]}.") from None


def conflict_advice(error: GitError, base: str) -> str:
    failed = next((line for line in error.stderr.splitlines() if line.startswith(("error:", "fatal:"))), "git am failed")
    return (
        f"The series does not go onto {base[:12]}: {failed}\n"
        "Its state is left in build/tree-conflict. Next, from here:\n"
        "  git -C build/tree-conflict status        # what is in conflict\n"
        "  (edit the files) && git -C build/tree-conflict add -A && git -C build/tree-conflict am --continue\n"
        f"  art-local patches export --tree build/tree-conflict --base {base}\n"
        f"or give up with: {DROP}"
    )
