"""Results files that are broken in every way a disk, an editor or another program can break them: a sentence or a result, no accident."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from bench_stand_in import bench, fake_programs

from art_local.bench import comparison
from art_local.bench.configuration import Plan
from art_local.bench.markdown import post
from art_local.bench.page import page
from art_local.bench.plot import text_plot
from art_local.bench.table import footnotes, table
from art_local.errors import UserError

NUMBERS: list[Any] = [None, True, -1, 0, 1e308, 10**400, float("nan"), float("inf")]
ODD: list[Any] = [*NUMBERS, "", "x" * 1000, "\ud800", [], {}, [[]], [None], {"a": {"b": []}}, [1, "2"]]


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("odd")
    plan = Plan((0, 4096), ("ranked",), rounds=1, prompt=64)
    return bench(folder, plan, fake_programs(folder / "bin", memory=8192)).lines


def use(path: Path) -> None:
    """Everything that is done with a results file."""
    result = comparison.load(path)
    table(result.rows)
    footnotes(result.rows)
    text_plot([result])
    page([result]).encode()
    json.dumps([row.as_dict() for row in result.rows])
    post([result], comparison.within(result))


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every place in a JSON value where something else could stand."""
    if isinstance(value, dict):
        return [(value, key) for key in value] + [place for inner in value.values() for place in places(inner)]
    if isinstance(value, list):
        return [(value, number) for number in range(len(value))] + [place for inner in value for place in places(inner)]
    return []


def test_any_value_may_be_odd_anywhere(lines: list[str], tmp_path: Path) -> None:
    """Every place of a line, one after the other, in all lines of the file at once."""
    dice, file, used = random.Random(11), tmp_path / "r.jsonl", 0
    count = len(places(json.loads(lines[0])))
    for place in range(2 * count):
        broken = [json.loads(line) for line in lines]
        odd = dice.choice(ODD)
        for line in broken:
            holder, key = places(line)[min(place % count, len(places(line)) - 1)]
            holder[key] = odd
        file.write_text("\n".join(map(json.dumps, broken)) + "\n", encoding="utf-8")
        try:
            use(file)
            used += 1
        except UserError as error:
            assert str(error) and "\n" not in str(error)
    assert used > count / 2, "most odd values are of no consequence"


def test_any_byte_may_be_wrong(lines: list[str], tmp_path: Path) -> None:
    dice, file = random.Random(7), tmp_path / "r.jsonl"
    content = ("\n".join(lines) + "\n").encode()
    for _ in range(150):
        broken = bytearray(content)
        for _ in range(dice.randint(1, 4)):
            broken[dice.randrange(len(broken))] = dice.randrange(256)
        file.write_bytes(broken[: dice.randrange(len(broken))] if dice.random() < 0.5 else broken)
        try:
            use(file)
        except UserError as error:
            assert str(error)
