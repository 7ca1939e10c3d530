"""Where things lie: the checkout this package belongs to, and the caches outside it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SUBMODULE = ROOT / "llama.cpp"
PATCHES = ROOT / "patches"
BUILD = ROOT / "build"


def cache() -> Path:
    """The user's cache folder: downloads only, shared by all checkouts. ART_LOCAL_CACHE moves it."""
    if chosen := os.environ.get("ART_LOCAL_CACHE"):
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "art-local"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", str(Path.home()))) / "art-local"
    return Path(os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))) / "art-local"
