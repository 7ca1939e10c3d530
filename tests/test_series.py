"""The patch series: apply, export, verify, rebase, and every way in which a series can be at fault."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from conftest import Clone

from art_local.errors import UserError
from art_local.source.git import git
from art_local.source.series import SeriesError, file_name, read_series, write_series
from art_local.source.trees import Checkout


def silent(text: str) -> None:
    pass


@pytest.fixture
def series(clone: Clone) -> Checkout:
    """The clone with two exported patches, the second of which needs the first."""
    checkout = Checkout(clone.root, silent)
    tree = checkout.apply()
    clone.change(tree / "one.c", 3, "patched once")
    (tree / "new.c").write_text("a new file\n")
    clone.commit(tree, "one : change a line", "Because the test needs it.\n\nSecond paragraph --- with dashes.")
    clone.change(tree / "new.c", 0, "a newer file")
    clone.commit(tree, "new : follow the first patch")
    export(checkout)
    return checkout


def export(checkout: Checkout) -> list[str]:
    exported = checkout.export()
    touched = write_series(exported, checkout.patches)
    checkout.note_exported(exported)
    (checkout.patches / "README.md").write_text("".join(f"| `{patch.name}` |\n" for patch in exported.patches))
    return touched


def names(checkout: Checkout) -> list[str]:
    return [patch.name for patch in checkout.series().patches]


def test_export_names_files_by_subject(series: Checkout) -> None:
    assert names(series) == ["one-change-a-line.patch", "new-follow-the-first-patch.patch"]
    assert series.series().patches[0].subject == "one : change a line"
    assert series.series().patches[0].files == ["new.c", "one.c"]


def test_verify_passes_and_export_does_not_churn(series: Checkout) -> None:
    assert len(series.verify().patches) == 2
    assert export(series) == []


def test_export_does_not_depend_on_the_users_git_settings(series: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tmp_path / "gitconfig"
    settings.write_text(
        "[diff]\nnoprefix = true\nalgorithm = patience\ncontext = 9\n[core]\nabbrev = 7\n[format]\nsignature = hello\nattach = x\n"
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".gitconfig").write_bytes(settings.read_bytes())
    assert export(series) == []


def test_apply_is_idempotent_and_keeps_times(series: Checkout, clone: Clone) -> None:
    tree = series.apply()
    before = {file.name: file.stat().st_mtime_ns for file in tree.glob("*.c")}
    series.apply()
    assert before == {file.name: file.stat().st_mtime_ns for file in tree.glob("*.c")}
    # a series that changes one file more touches that file only
    for file in tree.glob("*.c"):
        os.utime(file, ns=(10**18, 10**18))
    clone.change(tree / "three.c", 5, "third")
    clone.commit(tree, "three : change too")
    export(series)
    git(tree, "checkout", "--detach", "HEAD~1")
    series.record.unlink()
    git(tree, "checkout", "--detach", clone.pin)
    for file in tree.glob("*.c"):
        os.utime(file, ns=(10**18, 10**18))
    series.place(tree, clone.pin)
    series.record.write_text(f'{{"series": "none", "commit": "{clone.pin}"}}')
    series.apply()
    changed = {file.name for file in tree.glob("*.c") if file.stat().st_mtime_ns != 10**18}
    assert changed == {"one.c", "new.c", "three.c"}


def test_apply_refuses_to_lose_work(series: Checkout, clone: Clone) -> None:
    tree = series.patched
    (series.patches / "order").write_text("one-change-a-line.patch\n")
    (series.patches / "new-follow-the-first-patch.patch").unlink()
    clone.change(tree / "two.c", 1, "not committed")
    with pytest.raises(UserError, match="uncommitted"):
        series.apply()
    clone.commit(tree, "two : committed, not exported")
    with pytest.raises(UserError, match="commits that patches/ does not hold"):
        series.apply()


def test_a_fresh_clone_gets_the_same_content(series: Checkout, clone: Clone, tmp_path: Path) -> None:
    clone.commit(clone.root, "the series")
    git(tmp_path, "-c", "protocol.file.allow=always", "clone", str(clone.root), "second")
    second = Checkout(tmp_path / "second", silent)
    tree = second.apply()
    assert git(tree, "rev-parse", "HEAD^{tree}") == git(series.patched, "rev-parse", "HEAD^{tree}")
    assert git(second.upstream, "status", "--porcelain") == ""
    assert second.verify().fingerprint == series.series().fingerprint


def test_a_moved_checkout_still_works(series: Checkout, clone: Clone, tmp_path: Path) -> None:
    clone.root.rename(tmp_path / "moved")
    moved = Checkout(tmp_path / "moved", silent)
    assert moved.apply() == tmp_path / "moved" / "build" / "tree"
    assert moved.applied() == moved.series().fingerprint


def test_a_copied_checkout_leaves_the_original_alone(series: Checkout, clone: Clone, tmp_path: Path) -> None:
    before = git(series.patched, "rev-parse", "HEAD")
    shutil.copytree(clone.root, tmp_path / "copy", symlinks=True)
    copy = Checkout(tmp_path / "copy", silent)
    clone.change(copy.apply() / "two.c", 0, "only in the copy")
    clone.commit(copy.patched, "two : only in the copy")
    assert git(series.patched, "rev-parse", "HEAD") == before
    assert git(series.patched, "status", "--porcelain") == ""
    assert series.applied() == series.series().fingerprint


def edit(checkout: Checkout, name: str, old: bytes, new: bytes) -> None:
    file = checkout.patches / name
    assert old in file.read_bytes()
    file.write_bytes(file.read_bytes().replace(old, new))


def culprit(checkout: Checkout, pattern: str) -> str:
    with pytest.raises(SeriesError, match=pattern) as caught:
        checkout.verify()
    return caught.value.patch


def test_a_broken_patch_is_named(series: Checkout) -> None:
    edit(series, "one-change-a-line.patch", b"-one.c line 3", b"-one.c line 33")
    assert culprit(series, "does not apply") == "one-change-a-line.patch"


def test_a_truncated_patch_is_named(series: Checkout) -> None:
    file = series.patches / "one-change-a-line.patch"
    file.write_bytes(file.read_bytes()[:-60])
    assert culprit(series, "does not apply") == "one-change-a-line.patch"


def test_an_empty_patch_is_named(series: Checkout) -> None:
    (series.patches / "one-change-a-line.patch").write_bytes(b"")
    assert culprit(series, "does not apply") == "one-change-a-line.patch"


def test_a_patch_edited_by_hand_is_named(series: Checkout) -> None:
    edit(series, "new-follow-the-first-patch.patch", b"+a newer file", b"+a newest file")
    assert culprit(series, "not what an export writes") == "new-follow-the-first-patch.patch"


def test_an_unused_patch_is_named(series: Checkout) -> None:
    (series.patches / "stray.patch").write_text("stray")
    assert culprit(series, "unused") == "stray.patch"


def test_a_duplicate_is_named(series: Checkout) -> None:
    order = series.patches / "order"
    order.write_text(order.read_text() + "one-change-a-line.patch\n")
    assert culprit(series, "duplicate") == "one-change-a-line.patch"
    copy = series.patches / "copy.patch"
    copy.write_bytes((series.patches / "one-change-a-line.patch").read_bytes())
    order.write_text("one-change-a-line.patch\ncopy.patch\nnew-follow-the-first-patch.patch\n")
    assert culprit(series, "same change") == "copy.patch"


def test_out_of_order_is_named(series: Checkout) -> None:
    (series.patches / "order").write_text("new-follow-the-first-patch.patch\none-change-a-line.patch\n")
    assert culprit(series, "out of order: it applies only after one-change-a-line") == "new-follow-the-first-patch.patch"


def test_a_listed_file_that_is_missing_is_named(series: Checkout) -> None:
    (series.patches / "new-follow-the-first-patch.patch").unlink()
    assert culprit(series, "no such file") == "new-follow-the-first-patch.patch"


def test_a_patch_without_an_index_row_is_named(series: Checkout) -> None:
    (series.patches / "README.md").write_text("| `one-change-a-line.patch` |\n")
    assert culprit(series, "no row") == "new-follow-the-first-patch.patch"


def test_rebase_replays_on_another_commit(series: Checkout, clone: Clone) -> None:
    clone.change(clone.upstream / "three.c", 9, "upstream moved on")
    newer = clone.commit(clone.upstream, "upstream change")
    tree, base = series.rebase(newer)
    assert base == newer
    again = series.export(tree, base)
    assert [patch.name for patch in again.patches] == names(series)


def test_a_rebase_conflict_leaves_its_state_and_says_what_next(series: Checkout, clone: Clone) -> None:
    clone.change(clone.upstream / "one.c", 3, "upstream changed the same line")
    newer = clone.commit(clone.upstream, "conflicting change")
    with pytest.raises(UserError, match="am --continue") as caught:
        series.rebase(newer)
    assert f"--base {newer}" in str(caught.value)
    conflict = series.conflict
    assert "<<<<<<<" in (conflict / "one.c").read_text()
    clone.change(conflict / "one.c", 3, "patched once")
    lines = [line for line in (conflict / "one.c").read_text().splitlines() if line[:7] not in ("<<<<<<<", "=======", ">>>>>>>")]
    (conflict / "one.c").write_text("\n".join(lines) + "\n")
    git(conflict, "add", "-A")
    git(conflict, "am", "--continue", env={"GIT_COMMITTER_NAME": "x", "GIT_COMMITTER_EMAIL": "x@x"})
    assert len(series.export(conflict, newer).patches) == 2


def test_rebase_on_an_unknown_revision(series: Checkout) -> None:
    with pytest.raises(UserError, match="no commit"):
        series.rebase("no-such-branch")


def test_two_commits_of_one_subject_are_refused(series: Checkout, clone: Clone) -> None:
    clone.change(series.patched / "two.c", 0, "again")
    clone.commit(series.patched, "one : change a line")
    with pytest.raises(UserError, match="reword"):
        series.export()


def test_file_names() -> None:
    assert file_name("ggml : carry parameters (v2)") == "ggml-carry-parameters-v2.patch"
    assert len(file_name("x" * 300)) < 80


def test_the_projects_own_series_verifies() -> None:
    checkout = Checkout(say=silent)
    assert read_series(checkout.pin.commit, checkout.patches).fingerprint == checkout.verify().fingerprint
