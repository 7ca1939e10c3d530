"""What people type on the command line, as numbers and names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from art_local.bench.configuration import numbers
from art_local.errors import UsageError
from art_local.eval.plan import RESERVE, Plan
from art_local.eval.policies import POLICIES
from art_local.eval.setting import Setting
from art_local.eval.tasks import FAMILIES, PUZZLES, facts
from art_local.eval.texts import KINDS

SHORTEST = 256  # tokens that a needle with its question needs


def plan(
    ctx: int,
    positions: int,
    texts: int,
    greedy: int,
    needles: str,
    depths: str,
    tasks: str,
    samples: int,
    documents: Path | None,
    seed: int,
    scale: bool = True,
    shared: bool = False,
) -> Plan:
    check_documents(documents, ctx, samples)
    grid, chosen_families = lengths(needles, ctx), families(tasks)
    if not (texts or grid or chosen_families or documents):
        raise UsageError("There is nothing to measure: no texts, no needles, no tasks, no documents.")
    if shared and not (grid or set(chosen_families) & PUZZLES.keys()):
        raise UsageError(f"--shared hides needles and tasks in one text: it needs --needles, or --tasks of {', '.join(PUZZLES)}.")
    places = percents(depths, "--depths")
    return Plan(ctx, positions, texts, greedy, grid, places, chosen_families, samples, documents, seed, shared=shared, scale=scale)


def check_alone(texts: int, settings: Sequence[Setting]) -> None:
    if not texts or not any(setting.alone for setting in settings):
        raise UsageError("--alone takes the steps of texts under a mode other than exact: it needs --texts and such a --modes.")


def check_documents(folder: Path | None, ctx: int, samples: int) -> None:
    """All of them are read now: a wrong line must not show after an hour of prompts."""
    if folder is None:
        return
    if not any(folder.glob("*.jsonl")):
        raise UsageError(f"--documents takes a folder with *.jsonl files; {folder} holds none.")
    if ctx <= 2 * RESERVE:
        raise UsageError(f"--documents needs a --ctx above {2 * RESERVE}: half of that is kept for template and answer.")
    facts.documents(folder, samples)


def lengths(text: str, ctx: int) -> tuple[int, ...]:
    """ctx and ctx/2 stand for the context; where half of it has no room for a needle, it is left out."""
    if text == "none":
        return ()
    known = {"ctx": ctx, "ctx/2": ctx // 2}
    parts = [part.strip() for part in text.split(",")]
    found = {known[part] for part in parts if part in known and known[part] >= SHORTEST}
    plain = [part for part in parts if part not in known]
    return tuple(sorted(found | set(numbers(",".join(plain), "--needles", SHORTEST) if plain else ())))


def percents(text: str, option: str) -> tuple[float, ...]:
    try:
        found = tuple(dict.fromkeys(float(part.strip().removesuffix("%")) / 100 for part in text.split(",")))
    except ValueError:
        found = (-1.0,)
    if not all(0 <= one <= 1 for one in found):
        raise UsageError(f"{option} takes percents from 0 to 100, such as 10,50,90, not '{text}'.")
    return found


def forced(text: str) -> tuple[float, ...]:
    """The library takes 0 for no force at all."""
    found = percents(text, "--force")
    if not all(one >= 0.001 for one in found):
        raise UsageError(f"--force takes percents from 0.1 to 100, such as 10,25, not '{text}'.")
    return found


def budgets(text: str) -> tuple[float, ...]:
    found = percents(text, "--budgets")
    if not all(found):
        raise UsageError("--budgets takes shares above 0: a method that reads nothing is none.")
    return found


def families(text: str) -> tuple[str, ...]:
    if text in ("all", "none"):
        return tuple(FAMILIES) if text == "all" else ()
    return chosen(text, tuple(FAMILIES), "--tasks")


def kinds(text: str, files: Sequence[Path] | None) -> tuple[str, ...]:
    if text == "all":
        return KINDS
    if files:
        raise UsageError("--kinds chooses among the texts that come along; with --text there are none.")
    return chosen(text, KINDS, "--kinds")


def named_policies(text: str) -> tuple[str, ...]:
    offered = tuple(name for name in POLICIES if name not in ("numpy exact", "worst tiles (test)"))
    if text in ("all", "none"):
        return offered if text == "all" else ()
    return chosen(text, tuple(POLICIES), "--policies")


def chosen(text: str, known: tuple[str, ...], option: str) -> tuple[str, ...]:
    """A beginning is enough where only one name begins so."""
    found = []
    for part in (part.strip().lower() for part in text.split(",")):
        fitting = [name for name in known if name.lower() == part] or [name for name in known if name.lower().startswith(part)]
        if len(fitting) != 1:
            raise UsageError(f"{option} knows {', '.join(known)}, not '{part}'.")
        found += fitting
    return tuple(dict.fromkeys(found))


def evicted(text: str) -> tuple[int, int]:
    sink, plus, window = text.partition("+")
    if not plus:
        raise UsageError(f"--evict takes the oldest and the newest cells to keep, such as 16+2048, not '{text}'.")
    return numbers(sink, "--evict")[0], numbers(window, "--evict", 1)[0]
