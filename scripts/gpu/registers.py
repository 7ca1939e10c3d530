#!/usr/bin/env python3
"""Compile the attention kernels for cards that are not at hand, and tell what each takes: registers, spills, shared memory.

    python scripts/gpu/registers.py [OUT.md] [--tree build/tree] [--architectures 86,89,120] [--sizes 64,128,256]

The kernels are those of the table in ggml/src/ggml-cuda/fattn-art.cu and of every launch function beside it. It needs nvcc and no
GPU: the shared memory of a block is the largest that the launch plans ask for where a block may have 99 KB, as on these cards. Status 1
if a kernel spills registers to local memory or asks for more shared memory than that.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from art_local.errors import UserError  # noqa: E402
from art_local.files import replace  # noqa: E402

BLOCK_BYTES = 99 * 1024  # what a block may have on compute capability 8.6, 8.9 and 12.0
FLAGS = ("-std=c++17", "-O3", "-use_fast_math")
KV_TYPES = ("q4_0", "q8_0", "f16")  # enum kv_type

# Plans for every shape that is taken, on cards from a 3060 to a 5090. Kernels are empty below sm_80, so that this builds at once.
PLANS = """
#include <cstdio>
int main() {
    for (const art::kernel_entry & k : kernels) {
        int most = 0, warps = 0, none = 0;
        for (int sms : { 28, 82, 128, 170 }) for (int cells = 256; cells <= 1 << 20; cells *= 2) for (int heads : { 2, 8, 32 })
        for (int columns : { 1, 4, 7, 8, 16, 64, 128 }) for (int streams : { 1, 8 }) for (int wanted : { 8, 12 }) {
            art::device_limits limits = {};
            limits.sms = sms, limits.smem = %d, limits.bandwidth = 936e3;
            art::attn_args a = {};
            a.n_cells = cells, a.n_kv_heads = heads, a.n_streams = streams, a.n_cols = columns;
            a.n_col_blocks = (columns + art::COLUMNS - 1)/art::COLUMNS;
            const art::launch_plan p = art::make_plan(k, limits, a, wanted);
            if (p.kernel == nullptr) { ++none; }
            else if (p.smem > most) { most = p.smem; warps = p.warps; }
        }
        printf("%%d %%d %%d %%d %%d %%d %%d\\n", (int) k.mode, (int) k.type, k.d, k.heads, most, warps, none);
    }
}
"""


@dataclass(frozen=True)
class Kernel:
    name: str
    registers: int
    stack: int
    spilled: int  # bytes, stores and loads
    shared: int  # bytes that are fixed when it is compiled


@dataclass(frozen=True)
class Block:
    """What a block asks for at its largest plan."""

    entry: str
    shared: int
    warps: int
    without: int  # shapes that no plan takes


@dataclass(frozen=True)
class Source:
    tree: Path

    @property
    def folder(self) -> Path:
        return self.tree / "ggml" / "src" / "ggml-cuda"

    def entries(self, sizes: set[int]) -> list[str]:
        """The table's entries, its macros expanded."""
        text = (self.folder / "fattn-art.cu").read_text()
        found = re.search(r"(#define ART_KERNELS_OF\(.*?)^static const art::kernel_entry art_kernels\[\] = \{(.*?)^\};", text, re.S | re.M)
        if not found:
            raise UserError("fattn-art.cu has no table art_kernels; scripts/gpu/registers.py must follow where it went.")
        done = subprocess.run(["c++", "-E", "-P", "-x", "c++", "-"], input="\n".join(found.groups()), capture_output=True, text=True)
        listed = [" ".join(one.split()) for one in re.findall(r"art::\w+_entry\s*<[^>]*>\s*\(\)", done.stdout)]
        return [one for one in listed if {int(number) for number in re.findall(r"\b\d+\b", one)} & sizes]

    def unit(self, entries: list[str]) -> str:
        """A translation unit with these kernels and all that the launch functions start."""
        launches = re.findall(r"^inline cudaError_t (launch_\w+)\(", (self.folder / "fattn-art-kernel.cuh").read_text(), re.M)
        table = "".join(f"    {entry},\n" for entry in entries)
        rest = "".join(f"auto * use_{name} = &art::{name};\n" for name in launches)
        kernels = f"extern const art::kernel_entry kernels[];\nconst art::kernel_entry kernels[] = {{\n{table}}};\n"
        return f'#include "fattn-art-kernel.cuh"\n{kernels}{rest}'

    def compile(self, unit: str, *flags: str) -> str:
        """nvcc's report; kept, as the same unit gives the same report."""
        header = (self.folder / "fattn-art-kernel.cuh").read_bytes()
        key = hashlib.sha256(b"\0".join([header, unit.encode(), " ".join((*FLAGS, *flags)).encode(), version().encode()])).hexdigest()
        kept = ROOT / "build" / "registers" / f"{key[:16]}.log"
        if not kept.exists():
            with tempfile.TemporaryDirectory() as folder:
                source, out = Path(folder) / "unit.cu", Path(folder) / "unit"
                source.write_text(unit)
                report = nvcc(*FLAGS, "-I", str(self.folder), *flags, "-o", str(out), str(source))
                if "-cubin" not in flags:
                    report = subprocess.run([str(out)], capture_output=True, text=True, check=True).stdout
            replace(kept, report.encode())
        return kept.read_text()

    def kernels(self, architecture: str, sizes: set[int]) -> list[Kernel]:
        return parsed(self.compile(self.unit(self.entries(sizes)), "-Xptxas", "-v", "-cubin", f"-arch=sm_{architecture}"))

    def blocks(self) -> list[Block]:
        entries = self.entries({64, 128, 256})
        told = self.compile(self.unit(entries) + PLANS % BLOCK_BYTES, "-arch=sm_75")
        rows = [[int(number) for number in line.split()] for line in told.splitlines()]
        return [Block(name_of(entry), *row[4:]) for entry, row in zip(entries, rows, strict=True)]


def nvcc(*arguments: str) -> str:
    try:
        done = subprocess.run(["nvcc", *arguments], capture_output=True, text=True)
    except FileNotFoundError:
        raise UserError("This needs nvcc, the compiler of the CUDA toolkit; it is not on the PATH.") from None
    if done.returncode:
        lines = (done.stdout + done.stderr).splitlines()
        raise UserError(next((line for line in lines if "error" in line), lines[-1] if lines else "nvcc failed and said nothing"))
    return done.stdout + done.stderr


def version() -> str:
    return nvcc("--version").strip().splitlines()[-1]


def parsed(report: str) -> list[Kernel]:
    local = r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads"
    pattern = re.compile(rf"Compiling entry function '(\S+)'.*?{local}.*?Used (\d+) registers([^\n]*)", re.S)
    found = []
    for name, stack, stores, loads, registers, rest in pattern.findall(report):
        shared = re.search(r"(\d+) bytes smem", rest)
        found.append(Kernel(readable(name), int(registers), int(stack), int(stores) + int(loads), int(shared[1]) if shared else 0))
    return sorted(found, key=lambda kernel: kernel.name)


def readable(mangled: str) -> str:
    """_ZN3art15attention_exactILNS_7kv_typeE1ELi128ELi1EEEv... is attention_exact<q8_0, 128, 1>."""
    found = re.match(r"_ZN3art\d+(\w+?)I(.*?)EEv", mangled)
    if not found:
        return mangled
    values = re.findall(r"L(NS_7kv_typeE|i|b)(\d+)E", found[2] + "E")
    return f"{found[1]}<{', '.join(KV_TYPES[int(value)] if kind.startswith('NS') else value for kind, value in values)}>"


def name_of(entry: str) -> str:
    found = re.match(r"art::(\w+)_entry\s*<(.*)>", entry)
    assert found
    values = [part.strip().removeprefix("art::KV_").lower().replace("true", "1").replace("false", "0") for part in found[2].split(",")]
    return f"attention_{found[1]}<{', '.join(values)}>"


def table(by_architecture: dict[str, list[Kernel]], blocks: list[Block]) -> str:
    plans = {block.entry: block for block in blocks}
    kernels = {name: {kernel.name: kernel for kernel in each} for name, each in by_architecture.items()}
    columns = ["kernel", *(f"registers sm_{name}" for name in kernels), "spilled bytes", "shared memory of a block", "its warps"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for name in sorted({name for each in kernels.values() for name in each}):
        seen = [each.get(name) for each in kernels.values()]
        registers = " | ".join(str(kernel.registers) if kernel else "" for kernel in seen)
        fixed = max(kernel.shared for kernel in seen if kernel)
        plan = plans.get(name)
        shared = f"{plan.shared} + {fixed}" if plan else str(fixed)
        lines.append(f"| `{name}` | {registers} | {max(k.spilled for k in seen if k)} | {shared} | {plan.warps if plan else ''} |")
    return "\n".join(lines) + "\n"


def faults(by_architecture: dict[str, list[Kernel]], blocks: list[Block]) -> list[str]:
    found = []
    fixed: dict[str, int] = {}
    for architecture, kernels in by_architecture.items():
        for kernel in kernels:
            fixed[kernel.name] = max(fixed.get(kernel.name, 0), kernel.shared)
            if kernel.spilled or kernel.stack:
                found.append(f"sm_{architecture}: {kernel.name} spills {kernel.spilled} bytes, stack {kernel.stack}")
    for block in blocks:
        if block.shared + fixed.get(block.entry, 0) > BLOCK_BYTES:
            found.append(f"{block.entry}: a block asks for {block.shared + fixed.get(block.entry, 0)} bytes of shared memory")
        if block.shared == 0:
            found.append(f"{block.entry}: no plan on a card with {BLOCK_BYTES} bytes of shared memory a block")
    return found


def measured(tree: Path, wanted: dict[str, set[int]]) -> tuple[dict[str, list[Kernel]], list[Block]]:
    source = Source(tree)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        blocks = threads.submit(source.blocks)
        waiting = {name: threads.submit(source.kernels, name, sizes) for name, sizes in wanted.items()}
        return {name: each.result() for name, each in waiting.items()}, blocks.result()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--tree", type=Path, default=ROOT / "build" / "tree")
    parser.add_argument("--architectures", default="86,89,120")
    parser.add_argument("--sizes", default="64,128,256")
    chosen = parser.parse_args()
    sizes = {int(size) for size in chosen.sizes.split(",")}
    try:
        kernels, blocks = measured(chosen.tree, dict.fromkeys(chosen.architectures.split(","), sizes))
        header = hashlib.sha256((Source(chosen.tree).folder / "fattn-art-kernel.cuh").read_bytes()).hexdigest()
        told = f"`scripts/gpu/registers.py`, {date.today()}, {version()}, {' '.join(FLAGS)}, fattn-art-kernel.cuh {header[:12]}.\n"
        told += f"Shared memory: the largest that a plan asks for where a block may have {BLOCK_BYTES} bytes, plus what is fixed.\n\n"
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    text = "# What the CUDA kernels take\n\n" + told + table(kernels, blocks)
    if chosen.out:
        chosen.out.write_text(text)
    print(text, end="")
    wrong = faults(kernels, blocks)
    for one in wrong:
        print(f"error: {one}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
