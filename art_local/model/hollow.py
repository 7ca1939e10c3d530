"""Writes GGUF headers, right or wrong ones; the data that should follow is a hole: a model's shape at no cost."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from art_local.model.header import Header, padded
from art_local.model.types import TENSOR_TYPES

NUMBER = {kind.name: number for number, kind in TENSOR_TYPES.items()}


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def value(item: Any) -> bytes:
    if isinstance(item, bytes):  # already encoded, type included
        return item
    if isinstance(item, bool):
        return struct.pack("<I?", 7, item)
    if isinstance(item, int):
        return struct.pack("<IQ", 10, item) if item >= 1 << 32 else struct.pack("<II", 4, item)
    if isinstance(item, float):
        return struct.pack("<If", 6, item)
    if isinstance(item, str):
        return struct.pack("<I", 8) + text(item)
    kind = {bool: 7, int: 4, float: 6, str: 8}[type(item[0])]
    elements = b"".join(value(one)[4:] for one in item)
    return struct.pack("<IIQ", 9, kind, len(item)) + elements


def info(name: str | bytes, shape: Iterable[int], kind: int, offset: int) -> bytes:
    shape = list(shape)
    return text(name) + struct.pack(f"<I{len(shape)}qIQ", len(shape), *shape, kind, offset)


def gguf(metadata: dict[Any, Any], infos: Iterable[bytes] = (), version: int = 3, counts: tuple[int, int] | None = None) -> bytes:
    infos = list(infos)
    tensors, keys = counts or (len(infos), len(metadata))
    head = b"GGUF" + struct.pack("<Iqq", version, tensors, keys)
    return head + b"".join(text(key) + value(item) for key, item in metadata.items()) + b"".join(infos)


def write_sparse(path: Path, header: Header) -> None:
    """The header in full, the tensor data as a hole: any model's file, at no cost."""
    infos, offset = [], 0
    for tensor in header.tensors:
        infos.append(info(tensor.name, tensor.shape, NUMBER[tensor.type.name], offset))
        offset += padded(tensor.bytes, 32)
    head = gguf(header.metadata, infos)
    with path.open("wb") as file:
        file.write(head)
        file.truncate(padded(len(head), 32) + offset)
