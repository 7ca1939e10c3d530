"""Broken and hostile files: one sentence, exit code 1, bounded time and memory, whatever is in them."""

from __future__ import annotations

import struct
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from art_local.cli.app import run
from art_local.errors import UserError
from art_local.model import shape
from art_local.model.header import read_header
from art_local.model.hollow import gguf, info, text, value

LLAMA: dict[Any, Any] = {
    "general.architecture": "llama", "llama.block_count": 1, "llama.context_length": 4096, "llama.embedding_length": 64,
    "llama.feed_forward_length": 128, "llama.attention.head_count": 1, "llama.attention.head_count_kv": 1,
}  # fmt: skip
F32, Q4_K = 0, 12
HUGE = 1 << 62


def with_key(key: str, item: Any) -> bytes:
    return gguf({**LLAMA, key: item}, [info("token_embd.weight", [64, 32], F32, 0)]) + bytes(16384)


def array(kind: int, count: int, data: bytes = b"") -> bytes:
    return struct.pack("<IIQ", 9, kind, count) + data


def tensor(name: str | bytes = "token_embd.weight", extents: tuple[int, ...] = (64, 32), kind: int = F32, offset: int = 0) -> bytes:
    return gguf(LLAMA, [info(name, extents, kind, offset)]) + bytes(16384)


def sound() -> bytes:
    return tensor()


BROKEN: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "three bytes": lambda: b"GGU",
    "another format": lambda: b"PK\3\4" + bytes(100),
    "text": lambda: b"<html>404</html>",
    "big-endian": lambda: b"GGUF" + struct.pack(">Iqq", 3, 0, 0),
    "version 1": lambda: gguf(LLAMA, version=1),
    "version of the future": lambda: gguf(LLAMA, version=99),
    "cut in the counts": lambda: sound()[:17],
    "cut in a key": lambda: sound()[:40],
    "cut in the tensor infos": lambda: gguf(LLAMA, [info("token_embd.weight", [64, 32], F32, 0)])[:-9],
    "cut in the data": lambda: sound()[:2000],
    "negative tensor count": lambda: gguf(LLAMA, counts=(-1, 7)),
    "huge tensor count": lambda: gguf(LLAMA, counts=(HUGE, 7)),
    "negative key count": lambda: gguf(LLAMA, counts=(0, -5)),
    "huge key count": lambda: gguf(LLAMA, counts=(0, HUGE)),
    "more keys than there are": lambda: gguf(LLAMA, counts=(0, 100)),
    "2 GB string": lambda: with_key("general.name", struct.pack("<IQ", 8, 2 << 30)),
    "string beyond 2^63": lambda: with_key("general.name", struct.pack("<IQ", 8, (1 << 64) - 1)),
    "2 GB key": lambda: b"GGUF" + struct.pack("<IqqQ", 3, 0, 1, 2 << 30) + bytes(100),
    "key not UTF-8": lambda: gguf({b"\xff\xfe": 1}),
    "tensor name not UTF-8": lambda: tensor(name=b"\xc3\x28"),
    "key twice": lambda: gguf(LLAMA, counts=(0, 8))[: len(gguf(LLAMA))] + text("llama.block_count") + value(1),
    "unknown value type": lambda: with_key("x", struct.pack("<I", 77)),
    "array of arrays": lambda: with_key("x", array(9, 1, array(9, 1))),
    "unknown element type": lambda: with_key("x", array(31, 4)),
    "huge array": lambda: with_key("x", array(4, HUGE)),
    "huge string array": lambda: with_key("x", array(8, HUGE)),
    "string array with a bad length": lambda: with_key("x", array(8, 100, struct.pack("<Q", 1 << 40) + bytes(1000))),
    "no dimensions": lambda: tensor(extents=()),
    "five dimensions": lambda: tensor(extents=(1, 1, 1, 1, 1)),
    "negative extent": lambda: tensor(extents=(64, -32)),
    "zero extent": lambda: tensor(extents=(64, 0)),
    "overflowing shape": lambda: tensor(extents=(1 << 40, 1 << 40)),
    "unknown tensor type": lambda: tensor(kind=1000),
    "removed tensor type": lambda: tensor(kind=4),
    "row not a whole block": lambda: tensor(extents=(100, 32), kind=Q4_K),
    "offset beyond the file": lambda: tensor(offset=HUGE),
    "tensor twice": lambda: gguf(LLAMA, [info("a", [64], F32, 0), info("a", [64], F32, 256)]) + bytes(4096),
    "tensors over each other": lambda: gguf(LLAMA, [info("a", [64], F32, 0), info("b", [64], F32, 0)]) + bytes(4096),
    "a gap between tensors": lambda: gguf(LLAMA, [info("a", [64], F32, 0), info("b", [64], F32, 1024)]) + bytes(4096),
    "alignment 0": lambda: with_key("general.alignment", 0),
    "alignment 3": lambda: with_key("general.alignment", 3),
    "alignment text": lambda: with_key("general.alignment", "32"),
    "a part of three": lambda: with_key("split.count", 3),
    "a billion layers": lambda: with_key("llama.block_count", 1_000_000_000),
    "no layers": lambda: with_key("llama.block_count", 0),
    "layers as text": lambda: with_key("llama.block_count", "many"),
    "no heads": lambda: with_key("llama.attention.head_count", 0),
    "head array too short": lambda: with_key("llama.attention.head_count_kv", array(4, 0)),
    "heads out of range": lambda: with_key("llama.attention.head_count", 1 << 31),
    "NaN layers": lambda: with_key("llama.block_count", float("nan")),
}


def sentence(arguments: list[str], capsys: pytest.CaptureFixture[str], expected: int = 1) -> str:
    tracemalloc.start()
    start = time.perf_counter()
    code = run(arguments)
    seconds, (_, peak) = time.perf_counter() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    out, err = capsys.readouterr()
    assert code == expected and not out, (code, out, err)
    assert seconds < 5 and peak < 64 << 20
    assert err.startswith("error: ") and err.count("\n") == 1 and "Traceback" not in err
    return err


# a bench leaves what a sound header says about attention to llama.cpp
UNJUDGED = [case for case in BROKEN if "layers" in case or "head" in case.split() or "heads" in case.split()]


def test_there_are_enough_of_them() -> None:
    assert len(BROKEN) - len(UNJUDGED) >= 30


@pytest.mark.parametrize(
    ("command", "case"),
    [(command, case) for command in ("inspect", "plan", "bench") for case in BROKEN if command != "bench" or case not in UNJUDGED],
)
def test_one_sentence(command: str, case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(BROKEN[case]())
    extra = ["--gpu", "3090"] if command == "plan" else []
    assert "model.gguf" in sentence([command, str(path), *extra], capsys)


@pytest.mark.parametrize("length", [100 << 20, 2 << 30])
def test_long_string_in_a_long_file(length: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.gguf"
    with path.open("wb") as file:
        file.write(b"GGUF" + struct.pack("<Iqq", 3, 0, 1) + text("general.name") + struct.pack("<IQ", 8, length))
        file.truncate(3 << 30)
    sentence(["inspect", str(path)], capsys)


def test_long_array_in_a_long_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Walked in pieces, and given up at the longest header that is accepted."""
    path = tmp_path / "model.gguf"
    with path.open("wb") as file:
        file.write(b"GGUF" + struct.pack("<Iqq", 3, 0, 1) + text("x") + array(0, 2 << 30))
        file.truncate(3 << 30)
    sentence(["inspect", str(path)], capsys)


@pytest.mark.parametrize("command", ["inspect", "plan"])
def test_paths_that_are_no_files(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    extra = ["--gpu", "3090"] if command == "plan" else []
    sentence([command, str(tmp_path / "none.gguf"), *extra], capsys)
    sentence([command, str(tmp_path), *extra], capsys)
    sentence([command, "no-such-shape", *extra], capsys)
    sentence([command, "--hf", "not a name", *extra], capsys, 2)
    sentence([command, *extra], capsys, 2)


def test_zero_tensors_and_odd_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "odd.gguf"
    path.write_bytes(gguf({**LLAMA, "general.name": "[bold]\x1b[2Jx"}))
    assert run(["inspect", str(path)]) == 0
    out = capsys.readouterr().out
    assert "[bold]" in out and "\x1b" not in out
    sentence(["plan", str(path), "--gpu", "3090"], capsys)
    for name in (struct.pack("<I", 8) + text(b"\xff\xfe"), array(4, 5000, bytes(20000)), float("nan"), ["a", "b"], 7):
        path.write_bytes(gguf({**LLAMA, "general.name": name, "llama.rope.freq_base": name, "llama.context_length": name}))
        assert run(["inspect", str(path)]) == 0
        capsys.readouterr()
        assert run(["inspect", str(path), "--json"]) == 0
        assert "NaN" not in capsys.readouterr().out
    path.write_bytes(gguf({"general.architecture": "x" * 100_000}))
    assert run(["inspect", str(path)]) == 0
    assert len(capsys.readouterr().out) < 2000


class Bytes:
    name = "bytes"

    def __init__(self, data: bytes) -> None:
        self.data, self.size = data, len(data)

    def read(self, offset: int, count: int) -> bytes:
        return self.data[offset : offset + count]


def test_every_prefix_is_refused() -> None:
    whole = tensor()
    assert read_header(Bytes(whole)).tensors
    for length in range(len(whole) - 16384 + 64):
        with pytest.raises(UserError):
            read_header(Bytes(whole[:length]))


def test_every_changed_byte_is_an_answer_or_a_sentence() -> None:
    whole = tensor()
    refused = 0
    for place in range(len(whole) - 16384):
        for flip in (0x01, 0x80, 0xFF):
            try:
                read_header(Bytes(whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :]))
            except UserError:
                refused += 1
    assert refused > 100


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", "nonsense", "[" * 100_000,
     '{"metadata": {}, "layers": 1e9, "tensors": {}, "layer_tensors": {}, "quantizations": {"X": {}}}',
     '{"metadata": {}, "layers": 1, "tensors": {"a": [1, -5]}, "layer_tensors": {}, "quantizations": {"X": {"*": "f16"}}}',
     '{"metadata": {}, "layers": 1, "tensors": {"a": [8, 8]}, "layer_tensors": {}, "quantizations": {"X": {"*": "q9"}}}'],
)  # fmt: skip
def test_shape_files(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "shape.json"
    path.write_text(content)
    sentence(["inspect", str(path)], capsys)
    with pytest.raises(UserError):
        shape.from_file(path, "Q9")
