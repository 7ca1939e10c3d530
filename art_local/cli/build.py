"""art-local build: the patched llama.cpp for this machine, or its unpatched twin."""

from __future__ import annotations

from typing import Annotated

import typer


def build(
    preset: Annotated[str | None, typer.Option(help="A preset of CMakePresets.json; without it, the one for this machine.")] = None,
    stock: Annotated[bool, typer.Option("--stock", help="Build the unpatched twin, for comparison.")] = False,
    jobs: Annotated[int | None, typer.Option(min=1, help="Compile that many files at a time.")] = None,
) -> None:
    """Build llama.cpp with the patch series applied.

    Example: art-local build --preset cuda-3090 --jobs 8
    """
    from art_local.building import presets
    from art_local.building.build import build as run_build
    from art_local.cli.console import console, duration
    from art_local.cli.progress import build_progress
    from art_local.source.trees import Checkout

    chosen = presets.named(preset or presets.suited())
    if stock and not chosen.is_stock:
        chosen = chosen.twin
    # here and not inside CMake, so that what takes long is said
    checkout = Checkout(say=console(stderr=True).print)
    checkout.plain() if chosen.is_stock else checkout.apply()
    with build_progress(chosen.name) as watch:
        seconds = run_build(chosen, jobs, watch)
    console().print(f"built {chosen.name} in {duration(seconds)}: {chosen.programs}")
