"""The command line: imports the one command that was asked for, and nothing for the overview."""

from __future__ import annotations

import difflib
import importlib
import os
import sys

from art_local import __version__
from art_local.errors import UserError

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
        ]
    )


def main() -> None:
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()  # a reader that left, or a full disk, may show only now
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print(f"error: {error}", file=sys.stderr)
        code = code or 1
    sys.exit(code)


def run(arguments: list[str]) -> int:
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
        print(f"error: there is no command '{name}'; {hint}", file=sys.stderr)
        return 2
    try:
        return invoke(name, rest)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader left; say nothing more
        return 141
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def invoke(name: str, arguments: list[str]) -> int:
    import typer

    module = importlib.import_module(f"art_local.cli.{name}")
    app = getattr(module, "app", None)
    if app is None:
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command()(getattr(module, name))
    try:
        app(args=arguments, prog_name=f"art-local {name}")
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0
    return 0
