"""A profile of art-local tune in llama-server: taken for its model and said so, refused for any other in one sentence."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from test_server import serving

from art_local.building.presets import Preset
from art_local.tune import profile
from art_local.tune.profile import Profile

pytestmark = pytest.mark.built

LAYERS = 30


def write(folder: Path, made_for: Path, eps: tuple[float, ...], **changed: str) -> Path:
    made = Profile(made_for.name, "", "q8_0", 4096, 0.002, eps, fingerprint=profile.fingerprint(made_for))
    profile.write(replace(made, **changed), folder / "profile.json")
    return folder / "profile.json"


def test_tolerances_by_layer_are_taken_and_shown(patched: Preset, demo: Path, tmp_path: Path) -> None:
    eps = (0.0,) + (0.0625,) * (LAYERS - 1)
    path = write(tmp_path, demo, eps)
    with serving(patched, demo, "-ctk", "q8_0", "-ctv", "q8_0", "--art", "ranked", "--art-profile", str(path)) as server:
        art = json.loads(server.ask("/props")[1])["art"]
        assert art["layer_eps"] == list(eps) and art["profile"] == str(path)
        assert server.complete()[0] == 200
        assert server.complete(art_eps=0.01)[0] == 400, "one eps for all would undo the profile"


def test_one_tolerance_for_all_layers_stays_one(patched: Preset, demo: Path, tmp_path: Path) -> None:
    path = write(tmp_path, demo, (0.125,) * LAYERS)
    with serving(patched, demo, "--art", "ranked", "--art-profile", str(path)) as server:
        art = json.loads(server.ask("/props")[1])["art"]
        assert art["eps"] == 0.125 and art["layer_eps"] == []
        assert server.complete(art_eps=0.01)[0] == 200


def said(patched: Preset, demo: Path, *arguments: str) -> str:
    """What the server says when it gives up."""
    command = [str(patched.program("llama-server")), "-m", str(demo), "-c", "512", "-fa", "on", "-t", "1", "--port", "0", "--no-warmup"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode != 0, done.stdout
    return done.stdout + done.stderr


def test_a_profile_for_another_model_is_refused(patched: Preset, demo: Path, tmp_path: Path) -> None:
    path = write(tmp_path, demo, (0.07,) * LAYERS, fingerprint="0" * 64, model="another.gguf")
    assert f"was made for another.gguf, not for {demo}" in said(patched, demo, "--art", "ranked", "--art-profile", str(path))


HEAD = '{"format": 4, "model": "m", "fingerprint": "0", "kv": "q8_0", "context": 1, '


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "cannot be read"),
        ("", "is no profile of 'art-local tune'"),
        ('{"format": 1}', "another format"),
        ('{"format": 4}', "is no profile of 'art-local tune'"),
        (HEAD + '"eps": [0.1, 2]}', "eps must be a number from 0 to 1"),
        (HEAD + '"eps": []}', "is no profile of 'art-local tune'"),
    ],
)
def test_what_is_no_profile_is_refused(patched: Preset, demo: Path, tmp_path: Path, content: str | None, sentence: str) -> None:
    path = tmp_path / "profile.json"
    if content is not None:
        path.write_text(content)
    assert sentence in said(patched, demo, "--art", "ranked", "--art-profile", str(path))


def test_a_profile_that_would_do_nothing_is_refused(patched: Preset, demo: Path, tmp_path: Path) -> None:
    path = write(tmp_path, demo, (0.07,) * LAYERS)
    assert "add --art ranked" in said(patched, demo, "--art-profile", str(path))
    both = said(patched, demo, "--art", "ranked", "--art-layer-eps", "0.1", "--art-profile", str(path))
    assert "give one of them" in both


def test_a_profile_for_another_number_of_layers_is_refused(patched: Preset, demo: Path, tmp_path: Path) -> None:
    path = write(tmp_path, demo, (0.07, 0.1))
    assert "needs 30 values" in said(patched, demo, "--art", "ranked", "--art-profile", str(path))
