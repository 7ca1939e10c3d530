"""llama-fit-params plans for the summaries that mode ranked keeps beside the cache."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from art_local.building.presets import Preset

pytestmark = pytest.mark.built

CELLS, LAYERS, HEADS, TILE, RECORD = 65536, 30, 3, 8, 64  # of the demo model, head size 64


def fit(patched: Preset, demo: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Sizes only: nothing of them is allocated."""
    command = [str(patched.program("llama-fit-params")), "-m", str(demo), "-c", str(CELLS), "-fitp", "on", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def context(patched: Preset, demo: Path, kv: str, mode: str) -> int:
    """MiB of the cache and what is kept beside it."""
    done = fit(patched, demo, "-fa", "on", "-ctk", kv, "-ctv", kv, "--art", mode)
    assert done.returncode == 0, done.stderr
    device, _model, cache, _compute = done.stdout.split()
    assert device == "Host"
    return int(cache)


@pytest.mark.parametrize("kv", ["q8_0", "q4_0", "f16"])
def test_the_summaries_are_in_the_sum(patched: Preset, demo: Path, kv: str) -> None:
    without, exact, ranked = (context(patched, demo, kv, mode) for mode in ("off", "exact", "ranked"))
    assert exact == without
    assert abs(ranked - without - CELLS // TILE * LAYERS * HEADS * RECORD / 2**20) <= 1


def test_what_the_context_refuses_is_one_sentence(patched: Preset, demo: Path) -> None:
    done = fit(patched, demo, "-fa", "off", "--art", "ranked")
    assert done.returncode == 1 and "needs flash attention" in done.stderr
    assert "terminate" not in done.stderr
