"""Progress bars: on a terminal a bar, elsewhere a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from art_local.building.build import Step, Watch
from art_local.cli.console import console


@contextmanager
def build_progress(name: str) -> Iterator[Watch]:
    if not sys.stderr.isatty():
        yield sparse(name)
        return
    columns = (TextColumn("{task.fields[name]}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"))
    with Progress(*columns, TimeRemainingColumn(), TextColumn("{task.description}"), console=console(stderr=True)) as progress:
        task = progress.add_task("configuring", total=None, name=name)

        def watch(step: Step) -> None:
            progress.update(task, completed=step.done, total=step.total, description=step.what[-60:])

        yield watch


def sparse(name: str, every: float = 20.0) -> Watch:
    """For logs: say where the build is, but not for every file."""
    spoken = time.monotonic()

    def watch(step: Step) -> None:
        nonlocal spoken
        if time.monotonic() - spoken >= every:
            spoken = time.monotonic()
            print(f"{name}: {step.done}/{step.total} {step.what}", file=sys.stderr, flush=True)

    return watch
