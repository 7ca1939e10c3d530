"""art-local tune: tolerances by layer for one model, at a target loss."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import Annotated

import typer

from art_local.cli.context import tokens
from art_local.cli.place import place


def tune(
    model: Annotated[Path, typer.Argument(help="A GGUF file.")],
    target_kld: Annotated[float, typer.Option(min=1e-6, max=1.0, help="Mean KLD against exact, above rounding, that it may cost.")] = 0.002,
    ctx: Annotated[int, typer.Option(parser=tokens(64), metavar="TOKENS", help="Context length to tune at.")] = 4096,
    kv: Annotated[str, typer.Option(help="KV type: q8_0, q4_0 or f16.")] = "q8_0",
    positions: Annotated[int, typer.Option(min=2, max=100_000, help="Positions that each choice is measured on.")] = 64,
    ladder: Annotated[str, typer.Option(help="Tolerances to choose from; 0 reads everything.")] = "0,0.015,0.03,0.05,0.1,0.2,0.4",
    needles: Annotated[str, typer.Option(help="Lengths of the held-out needles, such as 2k,4k; 'none' leaves them out.")] = "ctx",
    depths: Annotated[str, typer.Option(help="Depths of the held-out needles in percent.")] = "10,50,90",
    texts: Annotated[
        int,
        typer.Option(
            min=2,
            max=100,
            help="How many texts: prose, code and recall by turns, one more than there are kinds or more, or stretches of --text; "
            "every other of a kind checks.",
        ),
    ] = 6,
    text: Annotated[
        list[Path] | None, typer.Option(help="A text file of your own, of which stretches are taken; several take turns.")
    ] = None,
    kinds: Annotated[str, typer.Option(help="Which of these kinds, such as prose,recall; without it, all.")] = "all",
    threads: Annotated[int | None, typer.Option(min=1, max=512, help="CPU threads.")] = None,
    preset: Annotated[str | None, typer.Option(help="Which build to use; without it, the one for this machine.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            parser=place("--out"), metavar="FILE", help="The profile file; without it, a name by the model's sha256 in the cache."
        ),
    ] = None,
    prefills: Annotated[
        Path | None,
        typer.Option(
            parser=place("--prefills", "folder"),
            metavar="FOLDER",
            help="Keep the states after the prefills there (large), for other runs with the same prompts.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the profile as JSON.")] = False,
) -> None:
    """Find tolerances for a model, by layer where the build can, that read the fewest bytes at a target loss.

    Exact attention on prose, code and recalled facts calibrates, other texts of these kinds
    and needles check. The profile belongs to the model's sha256 and is refused for any other.

    Example: art-local tune MODEL.gguf --target-kld 0.002 --ctx 8k
    """
    import sys
    from dataclasses import asdict

    from art_local.bench import configuration
    from art_local.cli.console import console
    from art_local.errors import UsageError
    from art_local.eval import options
    from art_local.tune.session import Order
    from art_local.tune.session import tune as run

    chosen_kv, *others = configuration.choices(kv, configuration.KV_TYPES, "--kv")
    if others:
        raise UsageError("--kv takes one type here: a profile belongs to one.")
    chosen_kinds = options.kinds(kinds, text)
    if not text and texts <= len(chosen_kinds):
        raise UsageError(
            f"--texts takes {len(chosen_kinds) + 1} or more here, unless --text names texts of your own: "
            "one of each kind comes first, the next checks."
        )
    steps = tuple(sorted(configuration.tolerances(ladder, "--ladder")))
    if len(steps) < 2 or steps[0] != 0:
        raise UsageError("--ladder takes 0 and at least one tolerance above it, such as 0,0.01,0.02.")
    plan = options.plan(ctx, positions, texts, 0, needles, depths, "none", 1, None, 1)
    order = Order(model, plan, chosen_kv, target_kld, steps, tuple(text or ()), chosen_kinds, preset, threads, out, prefills)
    tuned, path = run(order, lambda line: print(line, file=sys.stderr))
    if json:
        print(jsonlib.dumps({**asdict(tuned.profile), "path": str(path)}))
        return
    console().print(report(tuned, path), markup=False)


def report(tuned: object, path: Path) -> str:
    from art_local.tune.calibrate import Tuned

    assert isinstance(tuned, Tuned)
    profile, (uniform, loss) = tuned.profile, tuned.uniform
    found, check = profile.calibration, profile.held_out
    lines = [
        profile.describe(),
        f"  rounding     KLD {found['rounding_kld']:.5f} (off against exact): what no tolerance can remove",
        f"  calibration  KLD {found['kld']:.5f} +- {found['kld_error']:.5f} above rounding (target {profile.target_kld:g}),"
        f" {found['byte_share']:.1%} of the KV bytes",
        f"  one eps      {uniform[0]:g} in all layers: KLD {loss.kld:.5f}, {loss.byte_share:.1%} of the KV bytes",
        f"  held out     KLD {check['kld']:.5f}, 99 % {check['kld_p99']:.5f}, same top-1 {check['same_top']:.1%},"
        f" {check['byte_share']:.1%} of the KV bytes",
    ]
    if check["tasks"]:
        lines.append(f"  needles      {check['tasks_chosen']:.0%} found, exact finds {check['tasks_exact']:.0%}")
    if check["kld"] > profile.target_kld + found["rounding_kld"]:
        lines.append("  The held-out text misses the target: tune with more --positions, or ask for less.")
    lines.append(f"  use it       llama-server -m {profile.model} --art ranked --art-profile {path}")
    return "\n".join([*lines, f"written: {path}"])
