"""art-local eval: what early termination costs in quality, against exact attention on the same cache."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from art_local.cli.context import tokens
from art_local.cli.place import place

if TYPE_CHECKING:
    from art_local.eval.session import Measured


def eval(
    model: Annotated[Path, typer.Argument(help="A GGUF file.")],
    ctx: Annotated[
        int, typer.Option(parser=tokens(64), metavar="TOKENS", help="Context length, at most the one it was trained on.")
    ] = 4096,
    kv: Annotated[str, typer.Option(help="KV types: q8_0, q4_0, f16. Quantised ones are also held against f16, as the scale.")] = "q8_0",
    modes: Annotated[
        str, typer.Option(help="Modes to hold against exact: ranked, stability, off (stock kernels: what rounding alone does).")
    ] = "off,ranked,stability",
    eps: Annotated[str | None, typer.Option(help="Tolerances of mode ranked, such as 0.005,0.02; without it, the default.")] = None,
    positions: Annotated[int, typer.Option(min=2, max=100_000, help="Positions of each text to compare, decoded token by token.")] = 64,
    texts: Annotated[
        int, typer.Option(min=0, max=249, help="How many: prose, code and recalled facts by turns, or stretches of --text.")
    ] = 3,
    text: Annotated[
        list[Path] | None, typer.Option(help="A text file of your own; several take turns. The first is also the haystack of the needles.")
    ] = None,
    kinds: Annotated[str, typer.Option(help="Which of these kinds, such as code,recall; without it, all.")] = "all",
    greedy: Annotated[int, typer.Option(min=0, max=400, help="Greedy tokens to compare after each text.")] = 32,
    needles: Annotated[str, typer.Option(help="Lengths of the needle grid, such as 2k,4k; 'none' leaves it out.")] = "ctx/2",
    depths: Annotated[str, typer.Option(help="Depths of the needle grid in percent.")] = "10,50,90",
    tasks: Annotated[str, typer.Option(help="'all', 'none', or families such as 'multi-key needles,common words'.")] = "none",
    samples: Annotated[int, typer.Option(min=1, max=1000, help="Samples of each task and needle.")] = 1,
    shared: Annotated[
        bool, typer.Option("--shared", help="Needles and tasks that hide in any text lie in one, by length: one prefill, many questions.")
    ] = False,
    documents: Annotated[
        Path | None,
        typer.Option(
            parser=place("--documents", "folder"),
            metavar="FOLDER",
            help="A folder of *.jsonl files in LongBench's form: context, input, answers.",
        ),
    ] = None,
    profile: Annotated[
        Path | None, typer.Option(help="A profile of 'art-local tune'; without it, this model's own if there is one.")
    ] = None,
    policies: Annotated[
        str, typer.Option(help="Other people's methods in numpy (slow, f16): 'all', or e.g. 'sink and window,value skip'.")
    ] = "none",
    budgets: Annotated[str, typer.Option(help="Shares of the cells those read, in percent.")] = "10,25",
    evict: Annotated[
        str | None, typer.Option(help="Also after eviction of all but so many oldest and newest cells, such as 16+2048.")
    ] = None,
    force: Annotated[str | None, typer.Option(help="For tests: ranked with fixed shares instead of its stop rule, in percent.")] = None,
    alone: Annotated[
        bool, typer.Option("--alone", help="The modes also token by token over the cache that exact wrote, where losses do not add up.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the tasks.")] = 0,
    scale: Annotated[
        bool, typer.Option("--scale/--no-scale", help="Also hold the quantised cache against f16: one more prefill a text.")
    ] = True,
    threads: Annotated[int | None, typer.Option(min=1, max=512, help="CPU threads.")] = None,
    preset: Annotated[str | None, typer.Option(help="Which build to use; without it, the one for this machine.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(parser=place("--out"), metavar="FILE", help="Results file (JSON); a .md and an .svg are written beside it."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the file of --out.")] = False,
    prefills: Annotated[
        Path | None,
        typer.Option(
            parser=place("--prefills", "folder"),
            metavar="FOLDER",
            help="Keep the states after the prefills there (large), for other runs with the same prompts.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON instead of tables.")] = False,
) -> None:
    """Measure what early termination costs: KLD, same top token, perplexity, needles and tasks against exact attention.

    Everything is decoded token by token through the kernels that generation runs, from one exact prefill for each prompt.
    Every finished prompt is kept at once: Ctrl-C loses little, and --resume goes on. Exit code 130 after Ctrl-C.

    Example: art-local eval MODEL.gguf --ctx 7168 --kv q8_0 --modes ranked,stability --positions 64 --out FILE.json
    """
    import shlex
    import sys

    from art_local.bench import configuration
    from art_local.cli.eval_progress import eval_progress
    from art_local.errors import UsageError
    from art_local.eval import options
    from art_local.eval.session import Request, measure
    from art_local.eval.setting import settings
    from art_local.eval.texts import own

    if resume and out is None:
        raise UsageError("--resume needs the file to go on with: --out FILE.json")
    own(text or ())  # better now than after the model is loaded
    plan = options.plan(ctx, positions, texts, greedy, needles, depths, tasks, samples, documents, seed, scale, shared)
    chosen = settings(
        configuration.choices(modes, configuration.MODES, "--modes"),
        configuration.tolerances(eps) if eps else (),
        options.evicted(evict) if evict else None,
        options.forced(force) if force else (),
        alone,
    )
    if alone:
        options.check_alone(texts, chosen)
    request = Request(
        model,
        plan,
        configuration.choices(kv, configuration.KV_TYPES, "--kv"),
        tuple(chosen),
        profile,
        options.named_policies(policies),
        options.budgets(budgets),
        tuple(text or ()),
        options.kinds(kinds, text),
        preset,
        threads,
        out,
        resume,
        prefills,
        # results are shown around: where things lie on this machine is nobody's business
        shlex.join(["art-local", *(Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:])]),
    )
    with eval_progress() as watch:
        measured = measure(request, watch, lambda line: print(line, file=sys.stderr))
    report(measured, json)
    if measured.interrupted:
        kept = "; the same command with --resume goes on" if measured.written else ", nothing was kept"
        print(f"interrupted{kept}", file=sys.stderr)
        raise typer.Exit(130)
    if not measured.rows:
        raise typer.Exit(1)


def report(measured: Measured, json: bool) -> None:
    from art_local.cli.console import console
    from art_local.eval import summary
    from art_local.eval.session import plain

    if json:
        print(jsonlib.dumps([plain(row) for row in measured.rows]))
        return
    out = console()
    for table in (
        summary.scale_table(summary.scales(measured.results.records)),
        summary.text_table(measured.rows),
        summary.task_table(measured.rows),
        summary.fallen_back(measured.rows),
    ):
        if table:
            out.print(table, markup=False)
            out.print()
    for path in measured.written:
        out.print(f"written: {path}", markup=False)
