"""The programs a bench runs: the patched build for the modes, its stock twin (if built) for the baseline."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from art_local.bench.configuration import Configuration
from art_local.building.presets import Preset


@dataclass(frozen=True)
class Program:
    path: Path
    build: str  # "stock" or "patched"

    @cached_property
    def knows_art(self) -> bool:
        """Asked of the program itself: a build may be older than the series."""
        try:
            done = subprocess.run([str(self.path), "--help"], capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
        except (OSError, subprocess.TimeoutExpired):
            return False
        return b"--art" in done.stdout + done.stderr


class Binaries:
    def __init__(self, preset: Preset) -> None:
        self.preset = preset
        self.stock = preset.twin if not preset.is_stock and preset.twin.is_built else None
        self.found: dict[tuple[str, bool], Program] = {}

    def program(self, configuration: Configuration) -> Program:
        baseline = configuration.mode == "off"
        key = (configuration.program, baseline)
        if key not in self.found:
            preset = self.stock if baseline and self.stock else self.preset
            path = preset.program(configuration.program)
            if preset is self.stock and not path.exists():  # an older twin may lack a program
                preset, path = self.preset, self.preset.program(configuration.program)
            self.found[key] = Program(path, "stock" if preset.is_stock else "patched")
        return self.found[key]

    def baseline(self) -> str:
        stock = self.stock or (self.preset if self.preset.is_stock else None)
        return f"the stock build ({stock.name})" if stock else f"the patched build with --art off ({self.preset.name})"
