"""art-local patches: the commands that look after the series."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from art_local.cli.app import STYLE
from art_local.cli.console import console, print_table
from art_local.source.trees import Checkout

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    **STYLE,
    help="Look after the patch series. It is changed in build/tree, one commit a patch, then exported; never by hand.\n\n"
    "Example: art-local patches apply; (commit in build/tree); art-local patches export; art-local patches verify",
)


@app.command()
def status() -> None:
    """List the patches, what each touches, and whether build/tree holds them.

    Example: art-local patches status
    """
    checkout = Checkout()
    series = checkout.series()
    rows = [[str(len(patch.files)), patch.subject, patch.name] for patch in series.patches]
    out = console()
    out.print(f"upstream {series.base[:12]}, {len(series.patches)} patches, series {series.fingerprint}")
    print_table(["files", "subject", "patch"], rows, left=(1, 2))
    out.print("build/tree holds this series" if checkout.applied() == series.fingerprint else "build/tree does not hold this series")


@app.command()
def apply() -> None:
    """Bring build/tree to the series; does nothing when it is there.

    Example: art-local patches apply
    """
    checkout = Checkout()
    tree = checkout.apply()
    console().print(f"{tree} holds {len(checkout.series().patches)} patches")


@app.command()
def export(
    tree: Annotated[Path | None, typer.Option(help="Another tree than build/tree, after a rebase.")] = None,
    base: Annotated[str | None, typer.Option(help="The upstream commit that tree stands on, if not the pin.")] = None,
) -> None:
    """Write the commits of build/tree to patches/.

    Example: art-local patches export
    """
    from art_local.source.series import write_series

    checkout = Checkout()
    series = checkout.export(tree, base)
    touched = write_series(series, checkout.patches)
    if tree is None and base is None:
        checkout.note_exported(series)
    out = console()
    for name in touched:
        out.print(f"wrote {name}" if (checkout.patches / name).exists() else f"removed {name}")
    out.print(f"{len(series.patches)} patches, series {series.fingerprint}" + ("" if touched else ": nothing changed"))
    if base and base != checkout.pin.commit:
        out.print(f"These stand on {base}: set that commit in patches/pin.json and in the submodule to adopt it.")


@app.command()
def verify() -> None:
    """Apply the series on the pin, export it again and compare every byte. Takes seconds, builds nothing.

    It proves that the patches apply and are what an export writes; it does not prove that they compile.

    Example: art-local patches verify
    """
    series = Checkout().verify()
    console().print(f"{len(series.patches)} patches apply on {series.base[:12]} and export to the same bytes (series {series.fingerprint})")


@app.command()
def rebase(revision: Annotated[str, typer.Argument(help="A branch, tag or commit of upstream.")]) -> None:
    """Replay the series on another upstream commit, in build/tree-conflict.

    Example: art-local patches rebase master
    """
    tree, base = Checkout().rebase(revision)
    out = console()
    out.print(f"The series goes onto {base[:12]}; the tree is {tree}.")
    out.print(f"To keep it: art-local patches export --tree {tree} --base {base}")
