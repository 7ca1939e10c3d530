"""The CUDA kernels for cards that are not at hand: they compile, keep their registers, and fit the shared memory of a 3090."""

from __future__ import annotations

import pytest
from conftest import script

from art_local.building import toolchain
from art_local.checkout import ROOT
from art_local.source.trees import Checkout

# Every kernel once, and those of the head size that most models have for every card. All of them for all cards: scripts/gpu/registers.py
WANTED = {"86": {128, 256}, "89": {64, 128}, "120": {128}}


@pytest.mark.built
@pytest.mark.skipif(not toolchain.nvcc().found, reason="nvcc is not here, so nothing is known about cards that are not at hand")
def test_kernels_keep_their_registers_and_fit() -> None:
    registers = script("registers")
    kernels, blocks = registers.measured(Checkout(ROOT).apply(), WANTED)
    assert {kernel.name for kernel in kernels["86"]} & {"attention_exact<q8_0, 128, 1>"}
    assert {block.entry for block in blocks} <= {kernel.name for each in kernels.values() for kernel in each}
    assert registers.faults(kernels, blocks) == []


REPORT = """
ptxas info    : Compiling entry function '_ZN3art15attention_exactILNS_7kv_typeE1ELi128ELi2EEEvNS_9attn_argsE' for 'sm_86'
ptxas info    : Function properties for _ZN3art15attention_exactILNS_7kv_typeE1ELi128ELi2EEEvNS_9attn_argsE
    {stack} bytes stack frame, {spill} bytes spill stores, {spill} bytes spill loads
ptxas info    : Used 166 registers, used 13 barriers, {shared} bytes smem, 616 bytes cmem[0]
"""


@pytest.mark.parametrize(
    ("stack", "spill", "shared", "faults"),
    [
        (0, 0, 64, []),
        (0, 4, 64, ["sm_86: attention_exact<q8_0, 128, 2> spills 8 bytes, stack 0"]),
        (16, 0, 64, ["sm_86: attention_exact<q8_0, 128, 2> spills 0 bytes, stack 16"]),
        (0, 0, 2000, ["attention_exact<q8_0, 128, 2>: a block asks for 102000 bytes of shared memory"]),
    ],
)
def test_a_report_is_judged(stack: int, spill: int, shared: int, faults: list[str]) -> None:
    registers = script("registers")
    kernels = {"86": registers.parsed(REPORT.format(stack=stack, spill=spill, shared=shared))}
    assert registers.faults(kernels, [registers.Block("attention_exact<q8_0, 128, 2>", 100000, 4, 0)]) == faults
