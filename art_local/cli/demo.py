"""art-local demo: build, fetch a small model, bench it. Skips what is done already."""

from __future__ import annotations

from typing import Annotated

import typer


def demo(
    ctx: Annotated[
        int | None, typer.Option(min=256, max=8192, help="Context length; without it 8192 on a GPU or eight cores, else 4096.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="A preset of CMakePresets.json; without it, the one for this machine.")] = None,
) -> None:
    """Build the patched llama.cpp and its unpatched twin, fetch SmolLM2-135M (93 MB), and bench all modes.

    Example: art-local demo --ctx 4096
    """
    from art_local import demo_model
    from art_local.building import presets
    from art_local.building.machine import usable_cores
    from art_local.cli.bench import bench
    from art_local.cli.build import build

    name = preset or presets.suited()
    build(preset=name)
    build(preset=name, stock=True)
    model = demo_model.fetch()
    # one round, few tokens: a first look, in minutes even on two cores
    strong = name != "cpu" or usable_cores() >= 8
    bench(model=str(model), ctx=ctx or (8192 if strong else 4096), preset=name, rounds=1, reps=2, generate=32, prompt=0)
