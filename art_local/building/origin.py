"""Which state of the tree a build was made from: noted beside it when it is done, and held against the tree before it is used."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from art_local.errors import UserError
from art_local.files import replace
from art_local.source.pin import read_pin
from art_local.source.series import read_series
from art_local.source.submodule import head

if TYPE_CHECKING:
    from pathlib import Path

    from art_local.building.presets import Preset

NOTE = "made-from.json"


def note(preset: Preset) -> None:
    found = {"commit": head(tree(preset)), **({} if preset.is_stock else {"series": recorded(preset).get("series")})}
    replace(preset.folder / NOTE, json.dumps(found).encode())


def made_from(preset: Preset) -> dict[str, str]:
    return read(preset.folder / NOTE)


def moved_on(preset: Preset) -> str:
    """One sentence when a build is not what the source is now; empty when it is, or when there is no source to ask."""
    here = head(tree(preset))
    if here is None:
        return ""
    made, remedy = made_from(preset), f"run 'art-local build --preset {preset.name.removesuffix('-stock')}{' --stock' * preset.is_stock}'"
    if not made:
        return f"It is not noted what the build '{preset.name}' was made from; {remedy}, which notes it."
    if made.get("commit") != here:
        return f"The build '{preset.name}' was made from {str(made.get('commit'))[:12]}, its tree is at {here[:12]}; {remedy}."
    series = None if preset.is_stock else of_patches(preset.root)
    if series and made.get("series") != series:
        return f"The build '{preset.name}' is of series {made.get('series')}, patches/ holds {series}; {remedy}."
    return ""


def tree(preset: Preset) -> Path:
    return preset.root / "build" / ("tree-stock" if preset.is_stock else "tree")


def recorded(preset: Preset) -> dict[str, str]:
    return read(preset.root / "build" / "tree.json")


def of_patches(root: Path) -> str | None:
    """None where only programs were carried to, not their source."""
    try:
        return read_series(read_pin(root / "patches").commit, root / "patches").fingerprint
    except (OSError, UserError):
        return None


def read(file: Path) -> dict[str, str]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        return {}
