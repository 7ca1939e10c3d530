"""art-local report: results as one HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    files: Annotated[list[Path], typer.Argument(help="Results of benches, drawn together, and of evals.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The page; without it, the first file's name with .html.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write one self-contained HTML page: speed over depth, time in attention, memory, read share, quality, all numbers.

    The page needs no network and follows the reader's choice of light or dark.

    Example: art-local report results/rtx3090.jsonl results/eval.json --out rtx3090.html
    """
    import json as jsonlib

    from art_local.bench.comparison import load, refuse_repeated, told_apart
    from art_local.bench.page import MARK, page
    from art_local.bench.tested import is_eval, read_eval
    from art_local.cli.console import console
    from art_local.errors import UsageError, UserError
    from art_local.files import refuse_target, replace

    if not all(file.name for file in files):  # a path made of '' is '.'
        raise UsageError("report takes files of results; one of these has no name.")
    target = out or files[0].with_suffix(".html")
    refuse_target(target, "--out", files, MARK.encode())
    benches = [file for file in files if not is_eval(file)]
    tested = [read_eval(file) for file in files if is_eval(file)]
    refuse_repeated(files)
    say = console(stderr=True).print
    text = page(told_apart([load(file, say=say) for file in benches]), tested)
    try:
        replace(target, text.encode("utf-8", "replace"))
    except OSError as error:
        raise UserError(f"The page could not be written to {target}: {error.strerror or error}.") from None
    if json:
        print(jsonlib.dumps({"page": str(target), "bytes": len(text.encode())}))
    else:
        console().print(f"page      {target}")
