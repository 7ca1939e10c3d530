"""What a record must hold to be summed up: neither a word nor NaN may become a figure."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from typing import Any

from art_local.eval.metrics import Comparison

ALONG = ("text", "scale")
COMPARED = {field.name for field in fields(Comparison)}


def oddity(record: Any) -> str:
    """What is wrong with it, in words; nothing if it can be summed up."""
    if not isinstance(record, dict):
        return f"it is {shown(record)}, not an object"
    setting, comparison = record.get("setting"), record.get("comparison")
    if not isinstance(setting, dict) or not isinstance(comparison, dict):
        return "it has no setting or no comparison"
    named = {name: record.get(name) for name in ("prompt", "kv", "kind")} | {name: setting.get(name) for name in ("label", "where")}
    numbers = {name: record[name] for name in ("read_share", "byte_share", "fallbacks", "diverged") if record.get(name) is not None}
    if record.get("kind") in ALONG:
        numbers["greedy"] = record.get("greedy")
    else:
        numbers["score"] = record.get("score")
        if record.get("kind") == "needle":
            numbers |= {name: record.get(name) for name in ("length", "depth")}
        else:
            named["family"] = record.get("family")
    for name, value in named.items():
        if not isinstance(value, str):
            return f"its {name} is {shown(value)}, not a word"
    for name, value in numbers.items():
        if not is_number(value):
            return f"its {name} is {shown(value)}, not a number"
    return odd_rows(record.get("by_head", [])) or odd_comparison(comparison)


def odd_rows(by_head: Any) -> str:
    rows = by_head if isinstance(by_head, list) else [by_head]
    right = all(isinstance(row, list) and all(map(is_number, row)) for row in rows)
    return "" if right else "its by_head is not a list of numbers for each layer"


def odd_comparison(comparison: dict[str, Any]) -> str:
    if comparison.keys() != COMPARED or not all(isinstance(values, list) for values in comparison.values()):
        return f"its comparison is not lists of {', '.join(sorted(COMPARED))}"
    if len({len(values) for values in comparison.values()}) > 1:
        return "the lists of its comparison are not equally long"
    for name, values in comparison.items():
        for value in values:
            if not (isinstance(value, bool) if name == "same_top" else is_number(value)):
                return f"its {name} holds {shown(value)}, not {'true or false' if name == 'same_top' else 'a number'}"
    return ""


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def shown(value: Any) -> str:
    return json.dumps(value)[:60]
