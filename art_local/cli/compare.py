"""art-local compare: results side by side, with how sure the difference is."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import Annotated

import typer


def compare(
    files: Annotated[list[Path], typer.Argument(help="Results of a bench; the first is the base. One alone: modes against off.")],
    modes: Annotated[str | None, typer.Option(help="Across modes: off:ranked is the first file's off against ranked.")] = None,
    bandwidth: Annotated[str | None, typer.Option(help="Memory bandwidth of each file's card in GB/s, such as 936,1008.")] = None,
    price: Annotated[str | None, typer.Option(help="Price of each file's card, such as 700,1700.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Write a picture: .svg, or .png (which needs matplotlib).")] = None,
    md: Annotated[bool, typer.Option("--md", help="Print Markdown for a forum post, with machines and command lines.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Divide speeds where model, KV type, mode, depth and batch agree, with a 95 % interval.

    Says 'no difference' when the interval holds 1. Exit code 1 when the files cannot be compared.

    Example: art-local compare rtx3090.jsonl rtx4090.jsonl --price 700,1700
    """
    from art_local.bench import comparison
    from art_local.bench.markdown import cells, footnotes, headings
    from art_local.bench.plot import MARK, picture, text_plot
    from art_local.cli.console import console, print_table
    from art_local.files import refuse_target

    widths, prices = per_file(bandwidth, "--bandwidth", files, 1e9), per_file(price, "--price", files)
    comparison.refuse_repeated(files)
    if plot:
        refuse_target(plot, "--plot", files, MARK.encode())
    say = console(stderr=True).print
    results = [comparison.load(file, width, cost, say) for file, width, cost in zip(files, widths, prices, strict=True)]
    results = comparison.told_apart(results)
    across = comparison.mode_pair(modes) if modes else None
    if len(results) > 1:
        pairs = comparison.between(results, across)
    else:
        pairs = comparison.between(results * 2, across) if across else comparison.within(results[0])
    if plot:
        picture(results, plot)
    if json:
        print(jsonlib.dumps({"files": [str(file) for file in files], "pairs": [pair.as_dict() for pair in pairs]}))
    elif md:
        from art_local.bench.markdown import post

        print(post(results, pairs))
    else:
        out = console()
        for result in results:
            out.print(f"{result.name}: {result.model}, {result.machine}")
        print_table(headings(pairs), [cells(pair, pairs) for pair in pairs])
        for line in [*footnotes(pairs), *text_plot(results, min(60, out.width - 12))]:
            out.paragraph(line)
        if plot:
            out.print(f"plot      {plot}")


def per_file(text: str | None, what: str, files: list[Path], factor: float = 1.0) -> list[float | None]:
    from art_local.errors import UsageError

    if text is None:
        return [None] * len(files)
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != len(files) or not all(0 < value < 1e12 for value in values):
        raise UsageError(f"{what} takes one number above 0 for each of the {len(files)} files, not '{text}'.")
    return [value * factor for value in values]
