"""Which model a file holds: its sha256, kept in the cache, since a 40 GB file takes minutes to read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from art_local import checkout
from art_local.files import replace


def model_hash(files: list[Path], say: Callable[[str], None] = lambda text: None) -> str:
    """The sha256 of the file; of a model in parts, the sha256 of theirs, in order."""
    digests = [file_hash(file, say) for file in files]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def file_hash(file: Path, say: Callable[[str], None]) -> str:
    state = file.stat()
    key = f"{file.resolve()}|{state.st_size}|{state.st_mtime_ns}"
    store = checkout.cache() / "hashes.json"
    known = load(store)
    if key in known:
        return known[key]
    if state.st_size > 1 << 30:
        say(f"reading {file.name} once for its sha256 ({state.st_size / 2**30:.0f} GiB)")
    sha = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 22):
            sha.update(block)
    keep(store, {**known, key: sha.hexdigest()})
    return sha.hexdigest()


def load(store: Path) -> dict[str, str]:
    try:
        content = json.loads(store.read_text(encoding="utf-8"))
        return {str(key): str(value) for key, value in content.items()} if isinstance(content, dict) else {}
    except (OSError, ValueError):
        return {}


def keep(store: Path, known: dict[str, str]) -> None:
    """A cache that cannot be written is no reason to stop."""
    with suppress(OSError):
        replace(store, json.dumps(known, indent=0).encode())
