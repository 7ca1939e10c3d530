"""art-local plan: does the model fit, what goes where, how fast should it be, and what that rests on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from art_local.plan.cards import Card
    from art_local.plan.plan import Plan


def plan(
    model: Annotated[str | None, typer.Argument(help="A .gguf file, or a shape such as llama-3.3-70b:Q4_K_S.")] = None,
    hf: Annotated[str | None, typer.Option("--hf", "-hf", help="user/model:quant; only the header is fetched.")] = None,
    gpu: Annotated[str | None, typer.Option(help='The card: 3090, 4090, 5090, "M3 Ultra" ... Default: this machine\'s.')] = None,
    gpus: Annotated[int, typer.Option(help="How many of them.")] = 1,
    ctx: Annotated[int | None, typer.Option(help="Context length. Default: 32768, or what the model was trained for if less.")] = None,
    kv: Annotated[str, typer.Option(help="Type of the KV cache: f16, q8_0 or q4_0.")] = "q8_0",
    memory: Annotated[float | None, typer.Option(help="GiB on the card, if not the table's.")] = None,
    ram_bandwidth: Annotated[float, typer.Option(help="GB/s of main memory, for layers off the card.")] = 80.0,
    results: Annotated[list[Path] | None, typer.Option(help="Results of 'art-local bench' on this card: predictions follow them.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say whether a model fits a card, what goes where, and how fast it should be. Works from the header alone.

    Example: art-local plan llama-3.3-70b:Q4_K_S --gpu 3090 --ctx 32768
    """
    import json as jsonlib

    from art_local.errors import UserError
    from art_local.model.locate import load
    from art_local.plan import plan as planning
    from art_local.plan.cards import GIB, find, processor
    from art_local.plan.memory import Setting

    if not 1 <= ram_bandwidth <= 10000:
        raise UserError("--ram-bandwidth takes 1 to 10000 GB/s.")
    header = load(model, hf)
    trained = header.metadata.get(f"{header.metadata.get('general.architecture')}.context_length")
    context = ctx if ctx is not None else min(32768, trained) if isinstance(trained, int) and trained > 0 else 32768
    host = processor(64 * GIB, ram_bandwidth * 1e9)
    card = find(gpu, memory) if gpu is not None else this_card(host)
    made = planning.make(header, card, gpus, Setting(context, kv, ranked=True), host, results or [])
    if gpu is None and model and Path(model).is_file():
        made.fitted = fitted(Path(model), made)
    if json:
        print(jsonlib.dumps(as_dict(made), indent=2))
    else:
        show(made)


def this_card(host: Card) -> Card:
    """The first card of this machine that the table knows, with the memory it really has; else the processor."""
    from dataclasses import replace

    from art_local.building.machine import this_machine
    from art_local.errors import UserError

    machine = this_machine()
    for found in machine.cards:
        if card := recognised(found.name):
            return replace(card, memory=found.memory or card.memory)
    if machine.cards:
        raise UserError(f"The card '{machine.cards[0].name}' is not in the table; name a similar one by --gpu, with --memory.")
    return replace(host, memory=machine.memory or host.memory)


def recognised(name: str) -> Card | None:
    """The longest run of the driver's words that names a card of the table; a laptop's chip is another card."""
    from art_local.errors import UserError
    from art_local.plan.cards import find

    words = name.split()
    runs = [words[first:last] for first in range(len(words)) for last in range(first + 1, len(words) + 1)]
    for run in sorted(runs, key=len, reverse=True):
        if "laptop" in name.lower() or not any(one.isdigit() for one in "".join(run)):
            continue
        try:
            return find(" ".join(run))
        except UserError:
            continue
    return None


def fitted(model: Path, made: Plan) -> dict[str, dict[str, int]] | None:
    """The word of our own build, where there is one."""
    from art_local.building.presets import Preset, preset_names
    from art_local.plan.measured import fit_params

    for name in preset_names():
        program = Preset(name).program("llama-fit-params")
        if program.exists():
            return fit_params(program, model, made.setting)
    return None


def as_dict(made: Plan) -> dict[str, object]:
    from dataclasses import asdict

    speeds = {mode: {str(depth): round(1 / s, 2) for depth, s in row.items()} for mode, row in made.speeds.seconds.items()}
    return {
        "kind": "prediction",
        "model": made.model.header.parts,
        "card": made.card.name,
        "gpus": made.count,
        "context": made.setting.context,
        "kv": made.setting.kv_type,
        "memory": made.placement.as_dict(),
        "largest_context": made.largest,
        "tokens_per_second": speeds,
        "assumptions": made.speeds.assumptions,
        "alternatives": [asdict(one) for one in made.alternatives],
        "llama_fit_params": made.fitted,
    }


def show(made: Plan) -> None:
    from rich.markup import escape

    from art_local.cli.console import console

    out, place = console(), made.placement
    name, cards = made.model.header.parts[0], f"{made.count} x {made.card.name}" if made.count > 1 else made.card.name
    out.print(f"{escape(name)} on {cards}, context {made.setting.context}, KV {made.setting.kv_type}")
    out.print(verdict(made))
    out.print()
    rows = [("weights", place.weights), ("KV cache", place.kv), ("recurrent state", place.state), ("summaries (ranked)", place.summaries)]
    rows += [("compute buffers", place.compute), ("prefill scratch", place.scratch), ("display, driver, system", place.reserve)]
    for label, count in rows:
        if count:
            out.print(f"  {label:<24} {gib(count):>10}")
    out.print(f"  {'in use':<24} {gib(place.used):>10}  of {gib(place.capacity)}")
    out.print(f"  {'in main memory':<24} {gib(place.host_weights + place.host_kv):>10}")
    for device, parts in (made.fitted or {}).items():
        sizes = ", ".join(f"{part} {gib(count)}" for part, count in parts.items())
        out.print(f"  llama-fit-params of our build, {escape(device)}: {sizes}")
    out.print("\nExpected tokens/s, a prediction, not a measurement:")
    out.print("  " + f"{'depth':>8}" + "".join(f"{mode:>9}" for mode in made.speeds.seconds))
    for depth in made.speeds.seconds["stock"]:
        out.print(f"  {depth:>8}" + "".join(f"{1 / row[depth]:>9.1f}" for row in made.speeds.seconds.values()))
    for line in made.speeds.assumptions:
        out.print(f"  - {escape(line)}")
    if made.alternatives:
        out.print("\nInstead:")
    for one in made.alternatives:
        fits = f"all layers on the card up to context {one.context}" if one.context else "does not fit, either"
        note = f" ({one.note})" if one.note else ""
        out.print(f"  {one.what}{note}: {fits}; {one.tokens_per_second:.1f} tokens/s (stock) at depth {made.setting.context}")


def verdict(made: Plan) -> str:
    place = made.placement
    if made.card.name == "processor":
        short = "" if place.fits else " and does not fit its memory"
        return f"No card was found: it runs on the processor{short}. Name a card by --gpu to plan for one."
    if place.fits:
        trained = made.model.context
        limit = f"{made.largest}, all it was trained for" if trained and made.largest >= trained else str(made.largest)
        return f"It fits: -ngl 99. Largest context that fits: {limit}."
    share = place.weights / max(place.weights + place.host_weights, 1)
    where = f"{max(place.ngl - 1, 0)} of {place.layers - 1} layers fit: -ngl {place.ngl}, {share:.0%} of the weights on the card"
    limit = f"It would fit up to context {made.largest}." if made.largest else "No context is short enough."
    return f"It does not fit. {where}; {gib(place.host_weights + place.host_kv)} stay in main memory and set the pace. {limit}"


def gib(count: int) -> str:
    return f"{count / 2**30:.2f} GiB"
