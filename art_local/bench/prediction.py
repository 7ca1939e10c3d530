"""Speeds that 'art-local plan --json' expects, as lines beside measured ones; never without the mark of a prediction."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from art_local.bench.configuration import Configuration
from art_local.bench.results import LARGEST, Line, shown
from art_local.bench.summary import number
from art_local.errors import UserError


def read_prediction(path: Path) -> list[Line] | None:
    """None if the file is no plan."""
    try:
        if not path.is_file() or path.stat().st_size > min(LARGEST, 1 << 20):
            return None
        plan = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(plan, dict) or plan.get("kind") != "prediction" or not isinstance(plan.get("tokens_per_second"), dict):
        return None
    if odd := oddity(plan["tokens_per_second"]):
        raise UserError(f"{path} is a damaged prediction: {odd}.")
    return [line for mode, speeds in plan["tokens_per_second"].items() for line in of_mode(plan, mode, speeds)]


def oddity(modes: dict[str, Any]) -> str:
    """What would be left out, or taken for something else."""
    for mode, speeds in modes.items():
        if not isinstance(speeds, dict):
            return f"its mode {mode} has no speeds by depth"
        for depth, speed in speeds.items():
            if not re.fullmatch("[0-9]{1,9}", depth):
                return f"its depth {shown(depth)} (mode {mode}) is no whole number"
            if (number(speed) or 0) <= 0:
                return f"its speed at depth {depth} (mode {mode}) is {shown(speed)}, not a number above 0"
    return ""


def of_mode(plan: dict[str, Any], mode: str, speeds: dict[str, Any]) -> list[Line]:
    models, cards = plan.get("model"), [{"name": f"{plan.get('card')} (predicted)"}] * max(1, min(16, int(number(plan.get("gpus")) or 1)))
    model = Path(str(models[0])).name if isinstance(models, list) and models else "unknown model"
    facts = {"model": {"name": model}, "machine": {"processor": None, "cards": cards}, "build": {}}
    assumptions = " ".join(map(str, plan.get("assumptions") or []))
    lines = []
    for depth, speed in speeds.items():
        one = Configuration(mode, str(plan.get("kv")), int(depth))
        told = {"tokens_per_second": number(speed), "assumption": assumptions}
        lines.append(Line({}, {"kind": "prediction", "prediction": told, "configuration": one.as_dict(), "facts": facts}))
    return lines


def same_model(one: str, other: str) -> bool:
    """A plan knows no hash: every word of the shorter name must be in the longer one."""
    first, second = (set(re.findall(r"[a-z]+|[0-9.]*[0-9]", name.lower().removesuffix(".gguf"))) for name in (one, other))
    return first <= second or second <= first
