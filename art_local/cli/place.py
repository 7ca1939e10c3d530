"""A file or a folder, as people name one; an empty word, mostly a variable that was never set, must not become this folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def place(option: str, what: str = "file") -> Callable[[str], Path]:
    def parse(text: str) -> Path:
        from art_local.errors import UsageError

        if not str(text).strip():
            raise UsageError(f"{option} takes the name of a {what}, not an empty word.")
        return Path(text)

    return parse
