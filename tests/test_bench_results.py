"""The results file: whole lines or none, and the readers of others."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from bench_stand_in import bench, facts, fake_programs

from art_local.bench.configuration import Plan
from art_local.bench.results import Line, Results, join, parse, read, whole_lines
from art_local.bench.summary import summarize
from art_local.errors import UserError


def test_the_envelope_round_trip_keeps_the_record_byte_for_byte() -> None:
    record = '{"avg_ts": 1.50, "model_type": "a\\u00e9 }", "samples_ns": [ 1, 2 ]}'
    line = join(record, {"kind": "run", "round": 2})
    assert line.startswith(record[:-1])
    parsed = parse(line)
    assert parsed.record == json.loads(record) and parsed.get("round") == 2 and parsed.kind == "run"


def test_a_record_without_our_key_is_a_run() -> None:
    record = {"avg_ts": 5.0, "n_depth": 64, "type_k": "q8_0", "n_gen": 32, "art_mode": "exact", "model_type": "llama 8B"}
    rows = summarize([Line(record, {})])
    assert (rows[0].key.mode, rows[0].key.depth, rows[0].key.test, rows[0].median) == ("exact", 64, "tg32", 5.0)


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"avg_ts": None},
        {"avg_ts": "fast"},
        {"avg_ts": float("nan"), "samples_ts": "x"},
        {"avg_ts": 1, "samples_ts": [None, "x", -1]},
        {"avg_ts": 3.0, "n_depth": None, "n_gen": "many", "art_read_share": "all", "art_layers": {"a": 1}},
    ],
)
def test_missing_and_odd_fields_are_no_accident(record: dict[str, Any]) -> None:
    odd = {"kind": "run", "configuration": {"depth": "4", "extra": 1}, "memory": 7, "cards": ["x"], "warnings": None, "facts": []}
    for ours in ({}, {"kind": "run"}, odd):
        for row in summarize([Line(record, ours)]):
            row.as_dict()


def test_a_torn_last_line_is_dropped_on_resume(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    one, two, last = (join(f'{{"{name}": 1}}', {"kind": "run", "round": number}) for number, name in enumerate("abd"))
    file.write_text(f'{one}\n{two}\n{{"c": ', encoding="utf-8")
    results = Results.start(file, resume=True)
    results.add([last])
    assert file.read_text(encoding="utf-8") == f"{one}\n{two}\n{last}\n"


@pytest.mark.parametrize("content", ["my notes, one line", "x", '{"format": 1, "records": []}\n', '{"n_gen": 64, "avg_ts": 1.0}\n'])
def test_a_file_of_something_else_is_not_gone_on_with(tmp_path: Path, content: str) -> None:
    file = tmp_path / "r.jsonl"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match="was not written by 'art-local bench'; it is left as it is"):
        Results.start(file, resume=True)
    assert file.read_text(encoding="utf-8") == content


@pytest.mark.parametrize("content", ["", "\n", join(None, {"kind": "failure", "round": 1}) + "\n"])
def test_a_file_without_a_run_is_gone_on_with(tmp_path: Path, content: str) -> None:
    (tmp_path / "r.jsonl").write_text(content, encoding="utf-8")
    assert len(Results.start(tmp_path / "r.jsonl", resume=True).lines) == content.count("{") // 2


def damaged(file: Path, **fields: Any) -> Path:
    """Two good lines and one that is not."""
    good = [join('{"n_gen": 64, "n_depth": 0, "avg_ts": 1.0}', {"kind": "run", "round": number, "configuration": {}}) for number in (0, 1)]
    line = {"n_gen": 64, "n_depth": 0, "avg_ts": 1.0, "art_local": {"kind": "run", "round": 2, "configuration": {}}}
    for name, value in fields.items():
        (line["art_local"]["configuration"] if name in ("depth", "mode", "eps", "force", "layer_eps") else line)[name] = value  # type: ignore[index]
    file.write_text("\n".join([*good, json.dumps(line)]) + "\n", encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("depth", "4096", 'its depth is "4096", not a whole number'),
        ("depth", -1, "its depth is -1, not a whole number"),
        ("mode", 7, "its mode is 7, not a name"),
        ("eps", "0.1", 'its eps is "0.1", not a number from 0'),
        ("force", -0.2, "its force is -0.2, not a number from 0"),
        ("layer_eps", [0.1, None], "its layer_eps is .*, not a list of numbers from 0"),
        ("n_depth", "4096", 'its n_depth is "4096"'),
        ("n_gen", 6.5, "its n_gen is 6.5"),
        ("avg_ts", "fast", 'its avg_ts is "fast", not a number'),
        ("avg_ts", -3.0, r"its avg_ts is -3\.0, not a number"),
        ("samples_ts", ["abc"], r'its samples_ts is \["abc"\], not a list of numbers'),
        ("samples_ts", [1.0, float("inf")], "its samples_ts is .*, not a list of numbers"),
        ("speed_tg", "abc", 'its speed_tg is "abc", not a number'),
        ("art_local", {"kind": "run", "format": 7}, "its format is 7, this version reads 1"),
        ("art_local", {"kind": "run", "configuration": []}, r"its configuration is \[\], not an object"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, field: str, value: Any, sentence: str) -> None:
    file = damaged(tmp_path / "bad.jsonl", **{field: value})
    for reader in (read, lambda path: Results.start(path, resume=True)):
        with pytest.raises(UserError, match=rf"bad\.jsonl, line 3 cannot be read: {sentence}"):
            reader(file)


def test_a_run_counts_once(tmp_path: Path) -> None:
    file = bench(tmp_path, Plan((0,), ("exact",), rounds=2), fake_programs(tmp_path / "bin")).path
    text = file.read_text(encoding="utf-8")
    (tmp_path / "twice.jsonl").write_text(text + text, encoding="utf-8")
    for reader in (read, lambda path: Results.start(path, resume=True)):
        with pytest.raises(UserError, match=r"twice\.jsonl, line 5 repeats line 1"):
            reader(tmp_path / "twice.jsonl")


def test_a_torn_last_line_is_said(tmp_path: Path) -> None:
    file, said = damaged(tmp_path / "torn.jsonl"), list[str]()
    file.write_bytes(file.read_bytes()[:-30])
    assert len(read(file, said.append)) == 2
    assert said == [f"notice: {file}, line 3 is cut short and left out."]


def test_what_the_repository_carries_is_sound() -> None:
    for file in sorted((Path(__file__).parents[1] / "docs" / "results").glob("*.jsonl")):
        said: list[str] = []
        assert read(file, said.append) and not said


def test_a_whole_last_line_without_its_end_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    file.write_text('{"a": 1}\n{"b": 2}', encoding="utf-8")
    assert whole_lines(file) == [(1, '{"a": 1}'), (2, '{"b": 2}')]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "holds no results"),
        (b"\x00\xff\xfe", "is not a results file"),
        (b"[1]\n{}\n", "line 1 is no JSON object"),
        (b"{}\nhello\n{}\n", "line 2 is no JSON object"),
        (b"[" * 100_000 + b"\n", "line 1 is no JSON object"),
        (b"GGUF\x03\x00\x00\x00", "results"),
    ],
)
def test_odd_files_get_a_sentence(tmp_path: Path, content: bytes, sentence: str) -> None:
    file = tmp_path / "odd.jsonl"
    file.write_bytes(content)
    with pytest.raises(UserError, match=sentence):
        read(file)
    with pytest.raises(UserError, match="folder"):
        read(tmp_path)
    with pytest.raises(UserError, match="no file"):
        read(tmp_path / "absent")


def test_a_full_disk_leaves_the_old_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = bench(tmp_path, Plan((0,), (), rounds=1), fake_programs(tmp_path / "bin"))
    before = results.path.read_bytes()

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"could not be written .* No space left on device. What .* held before is untouched"):
        results.add(["{}"])
    assert results.path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []


def test_somebody_else_writing_is_noticed(tmp_path: Path) -> None:
    results = bench(tmp_path, Plan((0,), (), rounds=1), fake_programs(tmp_path / "bin"))
    results.path.write_text("{}\n", encoding="utf-8")
    with pytest.raises(UserError, match="changed by somebody else"):
        results.add(["{}"])
    assert results.path.read_text(encoding="utf-8") == "{}\n"


def test_where_no_file_can_be_is_said_before_the_first_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(UserError, match="could not be written"):
        Results.start(tmp_path / "file" / "r.jsonl", False)


def test_llama_cpps_own_reader_takes_the_file(tmp_path: Path) -> None:
    """Its loader drops keys it does not know and wants its own at the top level of every line."""
    results = bench(tmp_path, Plan((0, 64), ("exact",), rounds=1, prompt=32), fake_programs(tmp_path / "bin"), about=facts())
    for line in results.path.read_text(encoding="utf-8").splitlines():
        assert {"build_commit", "model_type", "n_depth", "n_gen", "n_prompt", "avg_ts"} <= json.loads(line).keys()
