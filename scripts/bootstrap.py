#!/usr/bin/env python3
"""From a bare checkout to a working one: environment, source, patches, build, demo, tests.

    python scripts/bootstrap.py demo            what 'make demo' runs
    python scripts/bootstrap.py test [--fast]   what 'make test' runs
    python scripts/bootstrap.py env             only the Python environment, in .venv
    python scripts/bootstrap.py tree [--stock]  only the source tree to build from (CMake calls this)

Every step is skipped when nothing changed since it was last done.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
sys.path.insert(0, str(ROOT))


def main() -> int:
    if sys.version_info < (3, 10):
        print(f"art-local needs Python 3.10 or newer; this is {sys.version.split()[0]}.", file=sys.stderr)
        return 1
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(dest="step", required=True)
    steps.add_parser("env")
    steps.add_parser("demo")
    steps.add_parser("test").add_argument("--fast", action="store_true", help="leave out what needs a build")
    steps.add_parser("tree").add_argument("--stock", action="store_true")
    chosen = parser.parse_args()
    from art_local.errors import UserError

    try:
        if chosen.step == "tree":
            return tree(chosen.stock)
        environment()
        if chosen.step == "demo":
            return art_local("demo")
        if chosen.step == "test":
            return test(chosen.fast)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"error: '{' '.join(map(str, error.cmd))}' failed with exit code {error.returncode}.", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def tree(stock: bool) -> int:
    """Standard library only: this runs under whatever Python CMake found."""
    from art_local.source.trees import Checkout

    checkout = Checkout(ROOT)
    checkout.plain() if stock else checkout.apply()
    return 0


def python() -> Path:
    return VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def environment() -> None:
    """.venv with the package (editable), its dependencies and the tools the tests use."""
    from art_local.errors import UserError
    from art_local.source.pin import read_pin

    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes() + str(VENV).encode() + sys.version.encode()).hexdigest()
    stamp = VENV / "art-local.stamp"
    if stamp.exists() and stamp.read_text() == wanted and python().exists():
        return
    print("environment: making .venv and installing the package with its dependencies", flush=True)
    if importlib.util.find_spec("ensurepip") is None:
        raise UserError("This Python cannot make environments; install python3-venv (Debian, Ubuntu: apt install python3-venv).")
    venv.EnvBuilder(with_pip=True, clear=True, symlinks=os.name != "nt").create(VENV)
    # the binding must not build a llama.cpp of its own: it is bound to ours at run time
    settings = {**os.environ, "CMAKE_ARGS": "-DLLAMA_BUILD=OFF", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    pip = [python(), "-m", "pip", "install", "--quiet"]
    # pip caches wheels by name alone: one without a library must not reach other projects of this user
    subprocess.run([*pip, "--no-cache-dir", "--no-deps", read_pin(ROOT / "patches").binding], check=True, env=settings, cwd=ROOT)
    subprocess.run([*pip, "--editable", f"{ROOT}[dev]"], check=True, env=settings, cwd=ROOT)
    stamp.write_text(wanted)


def art_local(*arguments: str) -> int:
    return subprocess.run([python(), "-m", "art_local", *arguments], cwd=ROOT).returncode


def test(fast: bool) -> int:
    checks = (["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"])
    for check in checks:
        print(f"check: {' '.join(check)}", flush=True)
        if code := subprocess.run([python(), "-m", *check], cwd=ROOT).returncode:
            return code
    if not fast:
        for preset in ("cpu", "cpu-stock"):
            if code := art_local("build", "--preset", preset):
                return code
    selection = ["-m", "not built"] if fast else []
    return subprocess.run([python(), "-m", "pytest", *selection], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
