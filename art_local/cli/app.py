"""The command line: imports the one command that was asked for, and nothing for the overview."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from pathlib import Path
from typing import Any

from art_local import __version__
from art_local.errors import UsageError, UserError

COMMANDS = {
    "doctor": "Say what this machine has, what is missing, and which build suits it.",
    "build": "Build the patched llama.cpp for this machine.",
    "demo": "Build, fetch a small model and bench it: the first evening in one command.",
    "bench": "Measure decoding speed of a model at a context length, by mode.",
    "compare": "Put results side by side: two cards, on and off, before and after.",
    "report": "Make one HTML page of results.",
    "inspect": "Show what a model is made of, and where early termination applies.",
    "plan": "Say whether a model fits a card, and how fast it should be.",
    "eval": "Measure what early termination costs in quality, against exact attention.",
    "tune": "Find tolerances for one model, by layer, at a target loss.",
    "patches": "Look after the patch series: status, apply, export, verify, rebase.",
}
# help as plain text, of which nothing is cut
STYLE: dict[str, Any] = {"rich_markup_mode": None, "context_settings": {"help_option_names": ["-h", "--help"]}}


def overview() -> str:
    lines = [f"  {name:<9} {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            "Usage: art-local COMMAND [ARGS]...",
            "",
            "Long-context decoding that stays fast: llama.cpp with attention that stops once the rest no longer matters.",
            "",
            "Commands:",
            *lines,
            "",
            "'art-local COMMAND --help' explains a command. Start with: art-local doctor",
            "Exit codes: 0 done, 1 it could not be done, 2 wrongly asked, 130 interrupted.",
        ]
    )


def main() -> None:
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115
        getattr(sys, name).reconfigure(errors="replace")  # a terminal that knows only ASCII gets '?', not a traceback
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """The exit code. What goes wrong is one sentence, whether it shows while a command runs or when its output is flushed."""
    try:
        code = dispatch(arguments)
        sys.stdout.flush()
        return code
    except UserError as error:
        return complain(f"error: {error}", 2 if isinstance(error, UsageError) else 1)
    except KeyboardInterrupt:
        return complain("interrupted", 130)
    except BrokenPipeError:
        discard_output()  # the reader has what it wanted
        return 0
    except OSError as error:
        discard_output()
        return complain(f"error: {error}", 1)


def complain(sentence: str, code: int) -> int:
    print(sentence, file=sys.stderr)
    return code


def discard_output() -> None:
    """The interpreter flushes once more on its way out, and would fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(overview())
        return 0
    if arguments[0] in ("-V", "--version"):
        print(f"art-local {__version__}")
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, 1)
        hint = f"did you mean '{near[0]}'?" if near else "'art-local --help' lists them."
        return complain(f"error: there is no command '{name}'; {hint}", 2)
    return invoke(name, rest)


def invoke(name: str, arguments: list[str]) -> int:
    import typer

    module = importlib.import_module(f"art_local.cli.{name}")
    app = getattr(module, "app", None)
    if app is None:
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, **STYLE)
        app.command()(getattr(module, name))
    try:
        code = app(args=arguments, prog_name=f"art-local {name}", standalone_mode=False)
    except Exception as error:  # click's own; typer may carry a click inside
        if type(error).__name__ == "Abort":
            raise KeyboardInterrupt from None
        if not hasattr(error, "format_message"):
            raise
        raise UsageError(" ".join(error.format_message().split())) from None
    return code if isinstance(code, int) else 0
