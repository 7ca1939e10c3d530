"""The progress of an evaluation: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from art_local.cli.console import console
from art_local.eval.run import Step


@contextmanager
def eval_progress() -> Iterator[Callable[[Step], None]]:
    if not sys.stderr.isatty():
        yield sparse()
        return
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console(stderr=True), transient=True) as progress:
        task = progress.add_task("starting", total=None)

        def watch(step: Step) -> None:
            progress.update(task, completed=step.done, total=step.total, description=step.what[-90:])

        yield watch


def sparse(every: float = 10.0) -> Callable[[Step], None]:
    spoken = 0.0

    def watch(step: Step) -> None:
        nonlocal spoken
        if time.monotonic() - spoken >= every:
            spoken = time.monotonic()
            print(f"{step.done}/{step.total} {step.what}", file=sys.stderr, flush=True)

    return watch
