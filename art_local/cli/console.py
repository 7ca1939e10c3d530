"""One console for all commands: coloured on a terminal, plain and unwrapped in a pipe."""

from __future__ import annotations

import sys

from rich.console import Console


class Output(Console):
    def on_broken_pipe(self) -> None:
        """A reader that leaves early is no failure: app.py ends quietly. Without an errno, which typer would take for one."""
        raise BrokenPipeError


def console(stderr: bool = False) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    wide = None if stream.isatty() else 160
    return Output(file=stream, markup=False, emoji=False, highlight=False, soft_wrap=not stream.isatty(), width=wide)


def size(count: int | None) -> str:
    if count is None:
        return "memory unknown"
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
