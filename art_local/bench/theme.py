"""Colours by name, for light and dark pages: a mode has the same colour wherever it is drawn."""

from __future__ import annotations

from collections.abc import Sequence

LIGHT = {
    "ink": "#1c2430",
    "soft": "#5b6675",
    "line": "#dfe3e8",
    "paper": "#ffffff",
    "panel": "#f6f7f9",
    "off": "#6b7280",
    "exact": "#1d5fd1",
    "stability": "#c2560c",
    "ranked": "#0b8457",
    "a": "#8b3fc7",
    "b": "#b8860b",
    "c": "#c02a5b",
    "d": "#0e7c94",
}
DARK = {
    "ink": "#e6e9ee",
    "soft": "#9aa5b4",
    "line": "#313a46",
    "paper": "#12161c",
    "panel": "#1a2029",
    "off": "#9aa3af",
    "exact": "#6ea8ff",
    "stability": "#f2955a",
    "ranked": "#3fcf9a",
    "a": "#c79bf2",
    "b": "#e0b94a",
    "c": "#f27fa5",
    "d": "#5cc5dd",
}
MODES = ("off", "exact", "stability", "ranked")
SPARE = ("a", "b", "c", "d")
DASHES = ("", "6 4", "2 3", "9 3 2 3")


def variables(colours: dict[str, str]) -> str:
    return ";".join(f"--{name}:{value}" for name, value in colours.items())


THEME = (
    f":root{{color-scheme:light dark;{variables(LIGHT)}}}@media(prefers-color-scheme:dark){{:root{{{variables(DARK)}}}}}"
    "svg text{font:13px system-ui,sans-serif;fill:var(--soft)}svg .grid{stroke:var(--line)}"
    "svg .strong{fill:var(--ink)}svg .axis{stroke:var(--soft)}"
)


def assign(modes: Sequence[str]) -> list[tuple[str, str]]:
    """Colour and dash pattern of each line: a second line of the same mode is dashed."""
    used: dict[str, int] = {}
    found = []
    for mode in modes:
        number = used[mode] = used.get(mode, -1) + 1
        known = mode in MODES and number < len(DASHES)
        found.append((mode if known else SPARE[number % len(SPARE)], DASHES[number % len(DASHES)]))
    return found


def colour(mode: str) -> str:
    return mode if mode in MODES else SPARE[0]
