"""Calls to git that never ask, never follow the user's own settings into a patch, and fail with git's own words."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from art_local.errors import UserError

# A patch must come out the same on every machine, whatever the user's git configuration says.
STEADY = (
    "-c core.autocrlf=false -c core.abbrev=40 -c diff.algorithm=myers -c diff.noprefix=false -c diff.mnemonicPrefix=false "
    "-c diff.renames=true -c diff.indentHeuristic=true -c diff.context=3 -c diff.interHunkContext=0 -c diff.external= "
    "-c format.pretty= -c format.notes=false -c format.useAutoBase=false -c format.forceInBodyFrom=false "
    "-c commit.gpgSign=false -c rerere.enabled=false -c mailinfo.scissors=false -c core.attributesFile="
).split()

KEPT = ("GIT_SSH", "GIT_SSH_COMMAND", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "GIT_PROXY_COMMAND")

# For what reads or writes patches: no settings but the ones above (git 2.32 and newer).
ALONE = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_ATTR_NOSYSTEM": "1"}


class GitError(UserError):
    def __init__(self, arguments: Sequence[str], code: int, stderr: str) -> None:
        super().__init__(f"git {' '.join(arguments)}: {stderr.strip() or f'exit {code}'}")
        self.stderr = stderr


def git(
    where: Path, *arguments: str, env: Mapping[str, str] | None = None, stdin: bytes | None = None, timeout: float | None = None
) -> str:
    """Run git in `where` and return what it printed."""
    return git_bytes(where, *arguments, env=env, stdin=stdin, timeout=timeout).decode("utf-8", "replace").strip()


def git_bytes(
    where: Path, *arguments: str, env: Mapping[str, str] | None = None, stdin: bytes | None = None, timeout: float | None = None
) -> bytes:
    if shutil.which("git") is None:
        raise UserError("git is not installed; install it and try again.")
    # git sets these for hooks and rebases; inherited, they would point our calls at another repository
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_") or name in KEPT}
    full = {**inherited, "GIT_TERMINAL_PROMPT": "0", "GIT_EDITOR": "true", "LC_ALL": "C", **(env or {})}
    try:
        done = subprocess.run(
            ["git", *STEADY, *arguments],
            cwd=where,
            env=full,
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        raise GitError(arguments, -1, f"no answer within {timeout:.0f} s") from None
    if done.returncode:
        raise GitError(arguments, done.returncode, done.stderr.decode("utf-8", "replace"))
    return done.stdout
