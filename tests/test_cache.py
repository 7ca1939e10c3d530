"""Summaries beside the cache: a thousand random sequences of everything a cache goes through, each step checked."""

from __future__ import annotations

import re
import subprocess

import pytest

from art_local.building.presets import Preset


@pytest.mark.built
def test_summaries_equal_a_recomputation_after_every_operation(patched: Preset) -> None:
    done = subprocess.run([str(patched.program("test-art-cache")), "1000"], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "1000" in done.stdout + done.stderr or "1002" in done.stdout + done.stderr


@pytest.mark.built
def test_the_op_tests_pass(patched: Preset) -> None:
    """Upstream's op tests with our family, on the CPU backend, the oracle of all others."""
    done = subprocess.run(
        [str(patched.program("test-backend-ops")), "test", "-o", "ART", "-b", "CPU"], capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout[-2000:]
    found = re.search(r"(\d+)/(\d+) tests passed", done.stdout)
    assert found and found[1] == found[2] and int(found[1]) > 100, done.stdout[-2000:]
