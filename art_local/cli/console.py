"""One console for all commands: coloured on a terminal, plain and unwrapped in a pipe."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Container, Iterator, Sequence

from rich.console import Console


class Output(Console):
    def on_broken_pipe(self) -> None:
        """A reader that leaves early is no failure: app.py ends quietly. Without an errno, which typer would take for one."""
        raise BrokenPipeError

    def paragraph(self, text: str, hang: int = 0) -> None:
        """What a terminal is too narrow for goes on below, indented under what it belongs to."""
        width, indent = max(self.width, hang + 24), " " * hang
        self.print(textwrap.fill(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False), soft_wrap=True)


def console(stderr: bool = False) -> Output:
    """In a pipe no line is broken and nothing cut, whatever COLUMNS says."""
    stream = sys.stderr if stderr else sys.stdout
    wide = None if stream.isatty() else 10_000
    return Output(file=stream, markup=False, emoji=False, highlight=False, soft_wrap=not stream.isatty(), width=wide)


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]], left: Container[int] = (0,), key: int = 1) -> None:
    """No cell is ever cut: columns that find no room go into a further table, behind the same first `key` columns."""
    out = console()
    for line in grid(headings, rows, left, key, out.width):
        out.print(line, soft_wrap=True)


def grid(headings: Sequence[str], rows: Sequence[Sequence[str]], left: Container[int], key: int, width: int) -> Iterator[str]:
    sizes = [max(len(row[column]) for row in (headings, *rows)) for column in range(len(headings))]
    rest = list(range(key, len(headings)))
    while rest:
        columns, used = list(range(key)), sum(size + 2 for size in sizes[:key])
        while rest and (len(columns) == key or used + sizes[rest[0]] <= width):
            used += sizes[rest[0]] + 2
            columns.append(rest.pop(0))
        for row in (headings, ["-" * size for size in sizes], *rows):
            cells = [f"{row[one]:<{sizes[one]}}" if one in left else f"{row[one]:>{sizes[one]}}" for one in columns]
            yield "  ".join(cells).rstrip()
        if rest:
            yield ""


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
