"""The progress of a bench: a bar with the time left on a terminal, a line for each run elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from art_local.bench.rounds import Progress as Step
from art_local.bench.rounds import Watch
from art_local.cli.console import console, duration


@contextmanager
def bench_progress() -> Iterator[Watch]:
    if not sys.stderr.isatty():
        yield lines
        return
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console(stderr=True), transient=True) as progress:
        task = progress.add_task("starting", total=None)

        def watch(step: Step) -> None:
            progress.update(task, completed=step.done, total=step.total, description=f"{left(step)} {step.now.label()} {step.doing}")

        yield watch


def lines(step: Step) -> None:
    if not step.doing:
        print(f"{step.done + 1}/{step.total} round {step.round + 1} {step.now.label()} {left(step)}".rstrip(), file=sys.stderr, flush=True)


def left(step: Step) -> str:
    return f"({duration(step.left)} left)" if step.left is not None else ""
