"""art-local plan: does the model fit, what goes where, how fast should it be, and what that rests on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from art_local.cli.context import tokens
from art_local.quantity import size

if TYPE_CHECKING:
    from art_local.plan.plan import Alternative, Plan


def plan(
    model: Annotated[str | None, typer.Argument(help="A .gguf file, or a shape such as llama-3.3-70b:Q4_K_S.")] = None,
    hf: Annotated[str | None, typer.Option("--hf", "-hf", help="user/model:quant; only the header is fetched.")] = None,
    gpu: Annotated[str | None, typer.Option(help='The card: 3090, 4090, 5090, "M3 Ultra" ... Default: this machine\'s.')] = None,
    gpus: Annotated[int, typer.Option(help="How many of them.")] = 1,
    ctx: Annotated[
        int | None,
        typer.Option(parser=tokens(1), metavar="TOKENS", help="Context length. Default: 32k, or what the model was trained for if less."),
    ] = None,
    kv: Annotated[str, typer.Option(help="Type of the KV cache: f16, q8_0 or q4_0.")] = "q8_0",
    memory: Annotated[float | None, typer.Option(help="GiB on the card, if not the table's.")] = None,
    ram: Annotated[float | None, typer.Option(help="GiB of main memory. Default: this machine's; with --gpu, 64.")] = None,
    ram_bandwidth: Annotated[float, typer.Option(help="GB/s of main memory, for layers off the card.")] = 80.0,
    results: Annotated[list[Path] | None, typer.Option(help="Results of 'art-local bench' on this card: predictions follow them.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say whether a model fits a card, what goes where, and how fast it should be. Works from the header alone.

    Example: art-local plan llama-3.3-70b:Q4_K_S --gpu 3090 --ctx 32k
    """
    import json as jsonlib

    from art_local.errors import UsageError
    from art_local.model.locate import load
    from art_local.plan import plan as planning
    from art_local.plan.cards import GIB, find, processor, with_gib
    from art_local.plan.machine import RAM, this_machines
    from art_local.plan.memory import Setting

    if not 1 <= ram_bandwidth <= 10000 or not 1 <= (1 if ram is None else ram) <= 1 << 20:
        raise UsageError("--ram-bandwidth takes 1 to 10000 GB/s, --ram from 1 GiB.")
    header = load(model, hf)
    trained = header.metadata.get(f"{header.metadata.get('general.architecture')}.context_length")
    context = ctx if ctx is not None else min(32768, trained) if isinstance(trained, int) and trained > 0 else 32768
    card, host = (find(gpu, memory), processor(RAM, ram_bandwidth * 1e9)) if gpu is not None else this_machines(ram_bandwidth * 1e9)
    if gpu is None and card.is_processor and (memory is not None or gpus > 1):
        raise UsageError("--memory and --gpus are about cards, and this machine has none: name one by --gpu.")
    if gpu is None and not card.is_processor:
        card = with_gib(card, memory)
    if ram is not None:
        host = replace(host, memory=int(ram * GIB))
        card = host if card.is_processor else card
    made = planning.make(header, card, gpus, Setting(context, kv, ranked=True), host, results or [])
    if gpu is None and model and Path(model).is_file():
        made.fitted = fitted(Path(model), made)
    if json:
        print(jsonlib.dumps(as_dict(made), indent=2))
    else:
        show(made)


def fitted(model: Path, made: Plan) -> dict[str, dict[str, int]] | None:
    """The word of our own build, where there is one; one for another kind of card says less."""
    from art_local.building.presets import Preset, preset_names
    from art_local.plan.measured import fit_params

    suited = "cpu" if made.card.is_processor else "metal" if made.card.unified else "cuda"
    for name in sorted(preset_names(), key=lambda name: not name.startswith(suited)):
        program = Preset(name).program("llama-fit-params")
        if program.exists():
            return fit_params(program, model, made.setting)
    return None


def as_dict(made: Plan) -> dict[str, object]:
    import shlex
    import sys
    from dataclasses import asdict

    speeds = {mode: {str(depth): round(1 / s, 2) for depth, s in row.items()} for mode, row in made.speeds.seconds.items()}
    return {
        "kind": "prediction",
        "command": shlex.join(["art-local", *(Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:])]),
        "model": [Path(part).name for part in made.model.header.parts],
        "card": made.card.name,
        "gpus": made.count,
        "context": made.setting.context,
        "kv": made.setting.kv_type,
        "memory": made.placement.as_dict(),
        "largest_context": made.largest,
        "tokens_per_second": speeds,
        "assumptions": made.speeds.assumptions,
        "warnings": made.warnings,
        "alternatives": [asdict(one) for one in made.alternatives],
        "llama_fit_params": made.fitted,
    }


def show(made: Plan) -> None:
    from art_local.cli.console import console, print_table

    out, place = console(), made.placement
    name, cards = Path(made.model.header.parts[0]).name, f"{made.count} x {made.card.name}" if made.count > 1 else made.card.name
    out.paragraph(f"{name} on {cards}, context {made.setting.context}, KV {made.setting.kv_type}")
    out.paragraph(verdict(made))
    for warning in made.warnings:
        out.paragraph(f"warning: {warning}", hang=9)
    out.print()
    rows = [("weights", place.weights), ("KV cache", place.kv), ("recurrent state", place.state), ("summaries (ranked)", place.summaries)]
    rows += [("compute buffers", place.compute), ("prefill scratch", place.scratch), ("display, driver, system", place.reserve)]
    for label, count in rows:
        if count:
            out.print(f"  {label:<24} {size(count):>10}")
    out.print(f"  {'in use':<24} {size(place.used):>10}  of {size(place.capacity)}")
    if place.host_bytes:
        out.print(f"  {'does not fit' if made.card.is_processor else 'in main memory':<24} {size(place.host_bytes):>10}")
    for device, parts in (made.fitted or {}).items():
        sizes = ", ".join(f"{part} {size(count)}" for part, count in parts.items())
        out.paragraph(f"  llama-fit-params of our build, {device}: {sizes}", hang=4)
    if made.speeds.seconds:
        out.print()
        out.paragraph("Expected tokens/s, a prediction, not a measurement (off: stock llama.cpp):")
        depths = list(made.speeds.seconds["off"])
        cells = [[str(depth), *(f"{1 / row[depth]:.1f}" for row in made.speeds.seconds.values())] for depth in depths]
        print_table(["depth", *made.speeds.seconds], cells, left=())
    for line in made.speeds.assumptions:
        out.paragraph(f"- {line}", hang=2)
    if made.alternatives:
        out.print("\nInstead:")
    for one in made.alternatives:
        out.paragraph("  " + alternative(one, made), hang=4)


def alternative(one: Alternative, made: Plan) -> str:
    where = "in memory" if made.card.is_processor else "on the card"
    fits = f"all layers {where} up to context {one.context}" if one.context else "does not fit, either"
    speed = f"; {one.tokens_per_second:.1f} tokens/s (off) at depth {made.setting.context}" if one.tokens_per_second else ""
    return f"{one.what}{f' ({one.note})' if one.note else ''}: {fits}{speed}"


def verdict(made: Plan) -> str:
    place = made.placement
    spare = place.capacity - place.used
    barely = f", barely: {size(spare)} to spare, and the estimate may be off by 3 %" if spare < 0.01 * place.capacity else ""
    if made.card.is_processor:
        fits = f"It fits{barely}. Largest context that fits: {largest(made)}." if place.fits else "It does not fit its memory."
        return f"No card was found: this is for the processor alone (--gpu plans for a card). {fits}"
    if place.fits:
        return f"It fits: -ngl {max(99, place.layers)}{barely}. Largest context that fits: {largest(made)}."
    share = place.weights / max(place.weights + place.host_weights, 1)
    where = f"{max(place.ngl - 1, 0)} of {place.layers - 1} layers fit: -ngl {place.ngl}, {share:.0%} of the weights on the card"
    limit = f"It would fit up to context {made.largest}." if made.largest else "No context is short enough."
    return f"It does not fit. {where}; {size(place.host_bytes)} stay in main memory and set the pace. {limit}"


def largest(made: Plan) -> str:
    trained = made.model.context
    if trained and made.setting.context > trained and made.placement.fits:
        return f"at least {made.setting.context}; it was trained for {trained}"
    return f"{made.largest}, all it was trained for" if trained and made.largest >= trained else str(made.largest)
