"""The programs a build needs, where they are, and what to do when one is missing."""

from __future__ import annotations

import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from art_local.building.machine import output


@dataclass(frozen=True)
class Tool:
    name: str
    path: str | None
    version: str | None
    remedy: str  # what to type when it is missing

    @property
    def found(self) -> bool:
        return self.path is not None


def search_path() -> str:
    """The environment's own programs first: cmake and ninja are installed with the package."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


def find(*names: str) -> str | None:
    return next((path for name in names if (path := shutil.which(name, path=search_path()))), None)


def tool(name: str, remedy: str, *candidates: str) -> Tool:
    path = find(*(candidates or (name,)))
    return Tool(name, path, version(path) if path else None, remedy)


def version(path: str) -> str | None:
    found = re.search(r"\d+\.\d+(?:\.\d+)*", output([path, "--version"]) or "")
    return found[0] if found else None


def nvcc() -> Tool:
    """nvcc is often installed but not on the PATH."""
    usual = Path(os.environ.get("CUDA_PATH", "/usr/local/cuda")) / "bin" / "nvcc"
    path = os.environ.get("CUDACXX") or find("nvcc") or (str(usual) if usual.exists() else None)
    text = output([path, "--version"]) if path else None
    found = re.search(r"release (\d+\.\d+)", text or "")
    return Tool("nvcc", path if found else None, found[1] if found else None, "install the CUDA toolkit (12.4 or newer) from NVIDIA")


def compiler() -> Tool:
    remedy = "xcode-select --install" if sys.platform == "darwin" else "install g++ (Debian, Ubuntu: apt install g++)"
    chosen = os.environ.get("CXX")
    return tool("C++ compiler", remedy, *([chosen] if chosen else ["c++", "g++", "clang++"]))


def cmake() -> Tool:
    return tool("cmake", "pip install cmake")


def ninja() -> Tool:
    return tool("ninja", "pip install ninja")


def compiler_cache() -> Tool:
    return tool("compiler cache", "optional: install ccache, rebuilds get fast", "ccache", "sccache")
