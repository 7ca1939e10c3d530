"""States after prefills, kept in a folder: another run with other settings need not read the same prompts again."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from art_local import files
from art_local.errors import UsageError, UserError

State = NDArray[np.uint8]
CHECKSUM = 4  # bytes before the state


@dataclass(frozen=True)
class Prefills:
    """A state holds for one prompt, and for the model, the build and the KV type that `about` names."""

    folder: Path
    about: str

    def check(self) -> None:
        """Whether they can be kept shows now, not after the first prompt."""
        if self.folder.exists() and not self.folder.is_dir():
            raise UsageError(f"--prefills takes a folder; {self.folder} is a file.")
        try:
            files.check(self.path(()))
        except OSError as error:
            raise UserError(f"States cannot be kept in {self.folder}: {error.strerror or error}.") from None

    def find(self, tokens: Sequence[int]) -> State | None:
        """A damaged file is as good as none: the prompt is read, and the file written, again."""
        path = self.path(tokens)
        if not path.exists():
            return None
        try:
            content = np.fromfile(path, dtype=np.uint8)
        except OSError as error:
            raise UserError(f"The state {path} could not be read: {error.strerror or error}.") from None
        state = content[CHECKSUM:]
        return state if state.size and content[:CHECKSUM].tobytes() == checksum(state) else None

    def keep(self, tokens: Sequence[int], state: State) -> None:
        try:
            files.replace(self.path(tokens), checksum(state) + state.tobytes())
        except OSError as error:
            raise UserError(f"The state could not be kept as {self.path(tokens)}: {error.strerror or error}.") from None

    def path(self, tokens: Sequence[int]) -> Path:
        name = hashlib.sha256(f"{self.about} {' '.join(map(str, tokens))}".encode()).hexdigest()
        return self.folder / f"{name[:24]}.state"


def checksum(state: State) -> bytes:
    return zlib.crc32(state.tobytes()).to_bytes(CHECKSUM, "little")
