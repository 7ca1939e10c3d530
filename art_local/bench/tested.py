"""Quality beside speed: what 'art-local eval' measured, for the report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from art_local.eval.summary import Row

MARK = b'"made by": "art-local eval'


def is_eval(path: Path) -> bool:
    """An eval's results file says so in its first words."""
    try:
        with path.open("rb") as stream:
            return MARK in stream.read(200)
    except OSError:
        return False


@dataclass(frozen=True)
class Tested:
    """One eval's results file."""

    name: str
    model: str
    context: str
    rows: list[Row]

    @property
    def skipping(self) -> list[Row]:
        return [row for row in self.rows if any(share < 1 for layer in row.by_head for share in layer)]


def read_eval(path: Path) -> Tested:
    from art_local.errors import UsageError, UserError
    from art_local.eval.results import read
    from art_local.eval.summary import rows

    try:
        found = read(path)
        model, plan = found.head.get("model", {}), found.head.get("plan", {})
        tested = Tested(path.stem, str(model.get("name", "unknown model")), str(plan.get("context", "unknown")), rows(found.records))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UserError(f"{path} is damaged, or of another version of 'art-local eval'.") from None
    if not tested.rows:
        raise UsageError(f"{path} holds nothing measured.")
    return tested


HEADINGS = ["KV", "setting", "read by", "read share", "byte share", "mean KLD", "99 % KLD", "same top-1", "needles found", "tasks solved"]


def cells(row: Row) -> list[str]:
    judged = row.text or row.asked
    needles, tasks = list(row.needles.values()), list(row.scores.values())
    return [
        *(row.kv, row.label, row.where),
        *(percent(row.read_share), percent(row.byte_share)),
        f"{judged.kld_mean.value:.5f}" if judged else "",
        f"{judged.kld_p99.value:.4f}" if judged else "",
        percent(judged.same_top.value) if judged else "",
        percent(sum(needles) / len(needles)) if needles else "",
        percent(sum(tasks) / len(tasks)) if tasks else "",
    ]


def percent(value: float | None) -> str:
    return f"{value:.1%}" if value is not None else ""
