"""art-local doctor: what is here, what is missing, and which build suits this machine."""

from __future__ import annotations

import json as jsonlib
from typing import Annotated

import typer

from art_local.quantity import size


def doctor(json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Say what this machine has, what is missing and how to get it, and which preset a build would take.

    Exit code 1 when a build is not possible.

    Example: art-local doctor
    """
    from art_local.building import origin, presets, toolchain
    from art_local.building.machine import this_machine
    from art_local.cli.console import console

    machine = this_machine()
    cuda = toolchain.nvcc()
    needed = [toolchain.tool("git", "install git"), toolchain.compiler(), toolchain.cmake(), toolchain.ninja()]
    if any(card.capability for card in machine.cards):
        needed.append(cuda)
    optional = [toolchain.compiler_cache()]
    preset = presets.suited(machine, cuda)
    ready = all(tool.found for tool in needed if tool is not cuda)
    built = [one for one in map(presets.Preset, presets.preset_names()) if one.is_built]
    if json:
        tools = {tool.name: {"path": tool.path, "version": tool.version} for tool in needed + optional}
        print(
            jsonlib.dumps(
                {"machine": machine.as_dict(), "tools": tools, "preset": preset, "ready": ready, "built": [one.name for one in built]},
                indent=2,
            )
        )
    else:
        out = console()
        out.print(f"{'machine':<15} {machine.system}, {machine.processor}, {machine.cores} cores, {size(machine.memory)}")
        for card in machine.cards:
            detail = f", compute capability {card.capability}, driver {card.driver}" if card.capability else ""
            out.print(f"{'gpu':<15} {card.name}, {size(card.memory)}{detail}")
        if not machine.cards:
            out.print(f"{'gpu':<15} none found")
        for tool in needed + optional:
            out.print(
                f"{tool.name:<15} {tool.version or 'found'}  {tool.path}" if tool.found else f"{tool.name:<15} missing: {tool.remedy}"
            )
        for one in built:
            made = origin.made_from(one)
            what = f"series {made['series']}" if made.get("series") else f"commit {made['commit'][:12]}" if made.get("commit") else ""
            out.print(f"{'built':<15} {one.name}  {what}".rstrip())
            if sentence := origin.moved_on(one):
                out.print(" " * 16 + sentence)
        out.print(f"{'preset':<15} {preset}" + ("" if presets.Preset(preset).is_built else "  (not built yet: art-local build)"))
        if preset == "cpu" and any(card.capability for card in machine.cards):
            out.print(" " * 16 + "There is an NVIDIA card but no nvcc: a build now would use the CPU only.")
    if not ready:
        raise typer.Exit(1)
