"""The one place that names the upstream commit is patches/pin.json; this reads it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from art_local.checkout import PATCHES


@dataclass(frozen=True)
class Pin:
    upstream: str
    commit: str
    binding: str  # the llama-cpp-python release that carries the same commit

    @property
    def binding_name(self) -> str:
        return self.binding.partition("==")[0]

    @property
    def binding_version(self) -> str:
        return self.binding.partition("==")[2]


def read_pin(patches: Path = PATCHES) -> Pin:
    return Pin(**json.loads((patches / "pin.json").read_text(encoding="utf-8")))
