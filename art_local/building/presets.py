"""The build presets of CMakePresets.json: which one suits a machine, and where its programs land."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from art_local import checkout
from art_local.building import origin
from art_local.building.machine import Machine, this_machine
from art_local.building.toolchain import Tool, nvcc
from art_local.errors import UsageError, UserError

STOCK = "-stock"


@dataclass(frozen=True)
class Preset:
    name: str
    root: Path = checkout.ROOT

    @property
    def folder(self) -> Path:
        return self.root / "build" / self.name

    @property
    def programs(self) -> Path:
        return self.folder / "bin"

    @property
    def is_stock(self) -> bool:
        return self.name.endswith(STOCK)

    @property
    def twin(self) -> Preset:
        """The same build of the other tree."""
        return Preset(self.name.removesuffix(STOCK) if self.is_stock else self.name + STOCK, self.root)

    def program(self, name: str) -> Path:
        return self.programs / (f"{name}.exe" if sys.platform == "win32" else name)

    @property
    def is_built(self) -> bool:
        return self.program("llama-bench").exists()


def preset_names(root: Path = checkout.ROOT) -> list[str]:
    presets = json.loads((root / "CMakePresets.json").read_text(encoding="utf-8"))["configurePresets"]
    return [preset["name"] for preset in presets if not preset.get("hidden")]


def named(name: str, root: Path = checkout.ROOT) -> Preset:
    if name not in preset_names(root):
        plain = ", ".join(known for known in preset_names(root) if not known.endswith(STOCK))
        raise UsageError(f"There is no preset '{name}'; choose one of {plain}, each also with {STOCK}.")
    return Preset(name, root)


def suited(machine: Machine | None = None, compiler: Tool | None = None) -> str:
    """The preset for a machine: its GPU if there is one and a compiler for it, else the CPU."""
    machine = machine or this_machine()
    if any(card.capability for card in machine.cards):
        return "cuda" if (compiler or nvcc()).found else "cpu"
    return "metal" if machine.cards else "cpu"


def warn(sentence: str) -> None:
    print(f"warning: {sentence}", file=sys.stderr)


def built(name: str | None = None, root: Path = checkout.ROOT, say: Callable[[str], None] = warn) -> Preset:
    """The build to use: the one asked for, else the one for this machine, else the only one there is. What is out of date is said."""
    candidates = [named(name, root).name] if name else [suited(), *(known for known in preset_names(root) if not known.endswith(STOCK))]
    chosen = next((found for found in (Preset(one, root) for one in candidates) if found.is_built), None)
    if chosen is None and name:
        raise UserError(f"Preset '{name}' is not built yet; run 'art-local build --preset {name.removesuffix(STOCK)}'.")
    if chosen is None:
        raise UserError("Nothing is built yet; run 'art-local build'.")
    for one in (chosen, chosen.twin):
        if one.is_built and (sentence := origin.moved_on(one)):
            say(sentence)
    return chosen
