"""Configure and compile a preset, telling how far it is, and name the first real error when it fails."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from art_local import checkout
from art_local.building import origin, toolchain
from art_local.building.presets import Preset
from art_local.errors import UserError

STEP = re.compile(r"^\[(\d+)/(\d+)\]\s+(.*)$")
ERROR = re.compile(
    r"(?:^|\s)(?:fatal )?error\b[ :]|^CMake Error|undefined reference|ninja: error|No space left on device|Killed signal", re.I
)


@dataclass(frozen=True)
class Step:
    done: int
    total: int
    what: str


Watch = Callable[[Step], None]


def build(preset: Preset, jobs: int | None = None, watch: Watch = lambda step: None) -> float:
    """Build a preset and return the seconds it took."""
    require_tools(preset)
    begin = time.monotonic()
    preset.folder.mkdir(parents=True, exist_ok=True)
    log = preset.folder / "build.log"
    with log.open("w", encoding="utf-8") as record:
        if needs_configuration(preset):
            run(configure_command(preset), preset, record, log, watch)
        run(build_command(preset, jobs), preset, record, log, watch)
    origin.note(preset)
    return time.monotonic() - begin


def require_tools(preset: Preset) -> None:
    needed = [toolchain.cmake(), toolchain.ninja(), toolchain.compiler()]
    if preset.name.startswith("cuda"):
        needed.append(toolchain.nvcc())
    for tool in needed:
        if not tool.found:
            raise UserError(f"A build needs {tool.name}, which is not here: {tool.remedy}.")


def needs_configuration(preset: Preset) -> bool:
    """True for a first build, and after the presets changed or the checkout moved; later CMake sees to itself."""
    cache = preset.folder / "CMakeCache.txt"
    if not (preset.folder / "build.ninja").exists() or not cache.exists():
        return True
    if (preset.root / "CMakePresets.json").stat().st_mtime > cache.stat().st_mtime:
        return True
    return f"CMAKE_HOME_DIRECTORY:INTERNAL={preset.root.as_posix()}\n" not in cache.read_text(encoding="utf-8", errors="replace")


def configure_command(preset: Preset) -> list[str]:
    command = [toolchain.cmake().path or "cmake", "--preset", preset.name, f"-DPython3_EXECUTABLE={sys.executable}"]
    if ninja := toolchain.ninja().path:
        command.append(f"-DCMAKE_MAKE_PROGRAM={ninja}")
    cuda = toolchain.nvcc()
    if preset.name.startswith("cuda") and cuda.path:
        command.append(f"-DCMAKE_CUDA_COMPILER={cuda.path}")
    return [*command, "--fresh"] if (preset.folder / "CMakeCache.txt").exists() else command


def build_command(preset: Preset, jobs: int | None) -> list[str]:
    command = [toolchain.cmake().path or "cmake", "--build", "--preset", preset.name]
    return [*command, "--parallel", str(jobs)] if jobs else command


def run(command: list[str], preset: Preset, record: TextIO, log: Path, watch: Watch) -> None:
    environment = {
        **os.environ,
        "PATH": toolchain.search_path(),
        "NINJA_STATUS": "[%f/%t] ",
        # the same file in another clone is the same object
        "CCACHE_BASEDIR": str(checkout.ROOT),
        "CCACHE_NOHASHDIR": "1",
    }
    with subprocess.Popen(
        command, cwd=preset.root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        try:
            for line in process.stdout or ():
                record.write(line)
                if step := parse_step(line):
                    watch(step)
        except BaseException:
            process.terminate()
            raise
    record.flush()
    if process.returncode:
        raise UserError(f"The build of '{preset.name}' failed: {first_error(log)}\nThe whole log is in {log}")


def parse_step(line: str) -> Step | None:
    found = STEP.match(line.strip())
    if not found:
        return None
    what = re.sub(r"^(Building|Linking) (\w+) (object|executable|shared library|static library|shared module)\s*", r"\1 ", found[3])
    return Step(int(found[1]), int(found[2]), what.replace(".dir/", "/").removesuffix(".o"))


def first_error(log: Path) -> str:
    """The first line that says what is wrong; a compiler repeats itself for pages after it."""
    return next(errors(log), "no line of the log names an error")


def errors(log: Path) -> Iterator[str]:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines):
        if ERROR.search(line) and not STEP.match(line):
            following = lines[number + 1].strip() if number + 1 < len(lines) else ""
            # CMake puts the sentence under the headline
            yield f"{line.strip()} {following}".strip() if line.startswith("CMake Error") else line.strip()
