"""The kernels' source for the emulation: the text as it is, but for what a C++ compiler cannot read."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from art_local.building.presets import Preset

HERE = Path(__file__).parent
TREE = HERE.parents[1] / "build" / "tree" / "ggml"
KERNELS = TREE / "src" / "ggml-cuda"
NAME = "fattn-art-kernel.cuh"
INSTRUCTIONS = ("__device__ __forceinline__ void copy16_async(", "__device__ __forceinline__ uint32_t bits(half2 h)")
LAUNCH = re.compile(r"([\w>.:-]+(?:<\w+\s*>)?)<<<(\w+), ([^,]+), ([^,]+), \w+>>>\((\w)\)")


def kernels(faults: dict[str, str] | None = None) -> str:
    """`faults`: what is there once, and what is put in its place."""
    text = (KERNELS / NAME).read_text()
    for right, wrong in (faults or {}).items():
        assert text.count(right) == 1, f"{text.count(right)} times: {right}"
        text = text.replace(right, wrong)
    begin = text.index(INSTRUCTIONS[0])
    text = text[:begin] + '#include "instructions.h"\n' + text[text.index(INSTRUCTIONS[1], begin) :]
    text = text.replace("extern __shared__ __align__(16) char smem[];", "char * const smem = emulation::shared();")
    text = re.sub(r"asm volatile\(\"atom\.add.*?\);", "k = atomicAdd(&a.done[p.id], 1u);", text)
    text = LAUNCH.sub(r"emulation::launch(\1, \2, \3, \4, \5)", text)
    assert "<<<" not in text and "asm" not in text
    return text


def compiled(folder: Path, sources: list[Path], output: str, faults: dict[str, str] | None = None, flags: tuple[str, ...] = ()) -> Path:
    (folder / NAME).write_text(kernels(faults))
    libraries = Preset("cpu").programs
    includes = [f"-I{folder}", f"-I{HERE}", f"-I{TREE}/include", f"-I{TREE}/src"]
    link = [f"-L{libraries}", "-lggml-base", "-lggml-cpu", f"-Wl,-rpath,{libraries}"]
    done = subprocess.run(
        # no fused multiply-add where the source has none: records must have the bytes of the CPU
        ["c++", "-std=c++20", "-O2", "-ffp-contract=off", "-w", *flags, *includes, *map(str, sources), "-o", str(folder / output), *link],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder / output


def device(folder: Path, faults: dict[str, str] | None = None, only: str = "") -> Path:
    """A library that adds the emulated device to a program that is told of it by GGML_BACKEND_PATH. `only`: kernels, which compile sooner
    than all of them."""
    text = (KERNELS / "fattn-art.cu").read_text()
    if only:
        begin = text.index("static const art::kernel_entry art_kernels[] = {")
        text = text[:begin] + f"static const art::kernel_entry art_kernels[] = {{ {only} " + text[text.index("};", begin) :]
    source = folder / "fattn-art.cpp"
    source.write_text(text)
    shutil.copy(KERNELS / "fattn-art.cuh", folder)
    return compiled(folder, [source, HERE / "device.cpp"], "libemulated.so", faults, ("-fPIC", "-shared"))
