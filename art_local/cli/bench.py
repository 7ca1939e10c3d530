"""art-local bench: decoding speed of a model by depth, mode and KV type, measured against stock llama.cpp."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from art_local.cli.context import tokens

if TYPE_CHECKING:
    from art_local.bench.summary import Row


def bench(
    model: Annotated[str | None, typer.Argument(help="A GGUF file, or a Hugging Face name such as user/model:Q4_K_S.")] = None,
    hf: Annotated[str | None, typer.Option("--hf", "-hf", help="The model by its Hugging Face name.")] = None,
    ctx: Annotated[
        int, typer.Option(parser=tokens(1), metavar="TOKENS", help="Context length: a sweep of depths up to it is measured.")
    ] = 8192,
    depths: Annotated[str | None, typer.Option(help="Depths of your own, such as 0,4k,16k.")] = None,
    modes: Annotated[str, typer.Option(help="Modes beside the baseline: exact, stability, ranked.")] = "exact,ranked",
    kv: Annotated[str, typer.Option(help="KV types: q8_0, q4_0, f16.")] = "q8_0",
    eps: Annotated[str | None, typer.Option(help="Tolerances of mode ranked, such as 0.005,0.02.")] = None,
    parallel: Annotated[str, typer.Option(help="Sequences at a time, such as 1,2,4,8.")] = "1",
    generate: Annotated[int, typer.Option("--generate", "-n", min=1, max=100_000, help="Tokens to generate in each repetition.")] = 64,
    prompt: Annotated[int, typer.Option(min=0, max=1_000_000, help="Measure the prefill of that many tokens, too; 0 leaves it out.")] = 512,
    rounds: Annotated[int, typer.Option(min=1, max=1000, help="Run everything that many times, interleaved.")] = 3,
    reps: Annotated[int, typer.Option(min=1, max=1000, help="Repetitions inside one process.")] = 3,
    preset: Annotated[str | None, typer.Option(help="Which build to use; without it, the one for this machine.")] = None,
    out: Annotated[Path | None, typer.Option(help="The results file; without it, a dated name under results/.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the file of --out.")] = False,
    no_profile: Annotated[bool, typer.Option("--no-profile", help="Leave out what 'art-local tune' found for this model.")] = False,
    force: Annotated[
        float | None, typer.Option(min=0.001, max=1, help="For tests: the share that ranked reads, instead of its stop rule.")
    ] = None,
    extra: Annotated[str, typer.Option(help="Further arguments for llama-bench, such as '-t 8 -ncmoe 20'.")] = "",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of the table.")] = False,
) -> None:
    """Measure decoding speed by depth and mode, in separate processes, interleaved, against stock llama.cpp.

    Every finished run is kept at once: Ctrl-C loses nothing, and --resume goes on.
    Exit code 1 when nothing could be measured, 130 after Ctrl-C.

    Example: art-local bench Qwen3-8B-Q4_K_S.gguf --ctx 32k --kv q8_0,q4_0
    """
    from art_local.bench import configuration as plan
    from art_local.bench.model import resolve
    from art_local.bench.session import measure
    from art_local.cli.bench_progress import bench_progress
    from art_local.cli.console import console
    from art_local.errors import UsageError

    if (model is None) == (hf is None):
        raise UsageError("Name one model: a GGUF file, or a Hugging Face name by -hf.")
    if resume and out is None:
        raise UsageError("--resume needs the file to go on with: --out FILE.jsonl")
    chosen = plan.Plan(
        depths=depth_list(depths) if depths is not None else plan.sweep(ctx, generate),
        modes=plan.choices(modes, plan.MODES, "--modes"),
        kvs=plan.choices(kv, plan.KV_TYPES, "--kv"),
        batches=plan.numbers(parallel, "--parallel", 1),
        eps=plan.tolerances(eps) if eps is not None else (),
        rounds=rounds,
        generate=generate,
        prompt=prompt,
        reps=reps,
        force=force,
        extra=plan.further(extra),
    )
    say = console(stderr=True).print
    subject = resolve(model, hf, say)
    with bench_progress() as watch:
        done = measure(subject, chosen, out, preset=preset, resume=resume, profiles=not no_profile, watch=watch, say=say)
    if json:
        rows = [row.as_dict() for row in done.rows]
        print(jsonlib.dumps({"file": str(done.path), "interrupted": done.interrupted, "baseline": done.baseline, "rows": rows}))
    else:
        show(done.rows)
        if done.path.exists():
            console().print(f"results   {done.path}")
        console().print(f"baseline  {done.baseline}")
    if done.interrupted:
        kept = f"go on with: art-local bench ... --out {done.path} --resume" if done.path.exists() else "no run had ended, nothing was kept"
        say(f"interrupted; {kept}")
        raise typer.Exit(130)
    if not any(row.samples for row in done.rows):
        raise typer.Exit(1)


def depth_list(text: str) -> tuple[int, ...]:
    """Depth 0 is always there: it tells the weights' time from attention's."""
    from art_local.bench.configuration import numbers

    return tuple(sorted({0, *numbers(text, "--depths")}))


def show(rows: list[Row]) -> None:
    from art_local.bench.table import footnotes, table
    from art_local.cli.console import console, print_table

    print_table(*table(rows), left=(0, 1, 2), key=4)
    for text in footnotes(rows):
        console().print(text)
