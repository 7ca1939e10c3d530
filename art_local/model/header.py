"""Reads the header of a GGUF file: metadata and tensor infos, never tensor data.

The file may be hostile or broken. Every count is checked against the bytes that are left before anything is allocated,
long arrays (a vocabulary) are walked and counted but not kept, and every failure is one sentence.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from art_local.errors import UserError
from art_local.model.source import CHUNK, Source
from art_local.model.types import TENSOR_TYPES, TensorType

MAX_HEADER = 512 << 20  # the largest real headers (256k-token vocabularies with merges) are under 20 MB
MAX_STRING = 8 << 20  # chat templates are at most some 100 KB
MAX_COUNT = 1 << 17  # tensors, or metadata keys
MAX_KEPT = 4096  # array elements kept; per-layer arrays are shorter, vocabularies longer
MAX_DIMENSIONS = 4
STRING, ARRAY = 8, 9
# value type: struct code
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}

Scalar = str | int | float | bool


@dataclass(frozen=True)
class LongArray:
    """An array that was counted, not kept."""

    count: int


Value = Scalar | list[Scalar] | LongArray


@dataclass(frozen=True)
class Tensor:
    name: str
    shape: tuple[int, ...]
    type: TensorType
    offset: int = 0

    @property
    def elements(self) -> int:
        product = 1
        for extent in self.shape:
            product *= extent
        return product

    @property
    def bytes(self) -> int:
        return self.type.row_bytes(self.elements)


@dataclass
class Header:
    metadata: dict[str, Value]
    tensors: list[Tensor]
    version: int = 3
    header_bytes: int = 0
    file_bytes: int = 0
    parts: list[str] = field(default_factory=list)

    @property
    def weight_bytes(self) -> int:
        return sum(tensor.bytes for tensor in self.tensors)

    @property
    def parameters(self) -> int:
        return sum(tensor.elements for tensor in self.tensors)


class Cursor:
    """Forward reading through a window of the source; memory stays bounded however long the header is."""

    def __init__(self, source: Source) -> None:
        self.source, self.window, self.start, self.at = source, b"", 0, 0

    @property
    def position(self) -> int:
        return self.start + self.at

    def fail(self, what: str) -> UserError:
        return UserError(f"{self.source.name}: {what[:400]}")

    def need(self, count: int, what: str) -> None:
        """Makes count bytes available at the cursor."""
        if len(self.window) - self.at >= count:
            return
        if count > self.source.size - self.position:
            left = max(self.source.size - self.position, 0)
            raise self.fail(f"truncated or damaged: {what} needs {count} bytes at byte {self.position}, the file has {left} left.")
        if self.position + count > MAX_HEADER:
            raise self.fail(f"the header is longer than {MAX_HEADER >> 20} MB, which no real model's is.")
        self.start, self.window = self.position, self.window[self.at :]
        self.at = 0
        while len(self.window) < count:
            more = self.source.read(self.start + len(self.window), max(CHUNK, count - len(self.window)))
            if not more:
                raise self.fail(f"truncated: {what} ends at byte {self.start + len(self.window)}.")
            self.window += more

    def take(self, code: str, what: str) -> tuple[Scalar, ...]:
        size = struct.calcsize("<" + code)
        self.need(size, what)
        values = struct.unpack_from("<" + code, self.window, self.at)
        self.at += size
        return values

    def integer(self, code: str, what: str) -> int:
        return int(self.take(code, what)[0])

    def raw_string(self, what: str, limit: int) -> bytes:
        length = self.integer("Q", f"the length of {what}")
        if length > limit:
            raise self.fail(f"damaged: {what} claims to be {length} bytes long, at most {limit} are accepted.")
        self.need(length, what)
        data = self.window[self.at : self.at + length]
        self.at += length
        return data

    def name(self, what: str) -> str:
        try:
            return self.raw_string(what, 65535).decode()
        except UnicodeDecodeError:
            raise self.fail(f"damaged: {what} is not UTF-8.") from None


def read_header(source: Source) -> Header:
    """The header of one file (one part of a split model)."""
    cursor = Cursor(source)
    cursor.need(4, "the file signature")
    magic = cursor.window[:4]
    if magic != b"GGUF":
        raise cursor.fail(f"not a GGUF file: it starts with {magic!r}.")
    cursor.at = 4
    version = cursor.integer("I", "the format version")
    if version & 0xFFFF == 0:
        raise cursor.fail("a big-endian GGUF file, which is not supported.")
    if version not in (2, 3):
        raise cursor.fail(f"GGUF version {version} is not supported, only 2 and 3 are.")
    tensor_count, key_count = (cursor.integer("q", what) for what in ("the tensor count", "the metadata count"))
    for count, what in ((tensor_count, "tensors"), (key_count, "metadata keys")):
        if not 0 <= count <= MAX_COUNT:
            raise cursor.fail(f"damaged: it claims {count} {what}.")
    metadata = read_metadata(cursor, key_count)
    tensors = read_tensors(cursor, tensor_count)
    header = Header(metadata, tensors, version, cursor.position, source.size, [source.name])
    check_extent(cursor, header)
    return header


def read_metadata(cursor: Cursor, count: int) -> dict[str, Value]:
    metadata: dict[str, Value] = {}
    for index in range(count):
        key = cursor.name(f"metadata key {index}")
        if key in metadata:
            raise cursor.fail(f"damaged: the metadata key {key!r} occurs twice.")
        metadata[key] = read_value(cursor, key)
    return metadata


def read_value(cursor: Cursor, key: str) -> Value:
    kind = cursor.integer("I", f"the type of {key!r}")
    what = f"the value of {key!r}"
    if kind == STRING:
        return cursor.raw_string(what, MAX_STRING).decode(errors="replace")
    if kind == ARRAY:
        return read_array(cursor, key)
    if kind not in SCALARS:
        raise cursor.fail(f"damaged: {key!r} has the unknown value type {kind}.")
    return cursor.take(SCALARS[kind], what)[0]


def read_array(cursor: Cursor, key: str) -> Value:
    kind, count = cursor.integer("I", f"the type of {key!r}"), cursor.integer("Q", f"the length of {key!r}")
    if kind == ARRAY:
        raise cursor.fail(f"damaged: {key!r} is an array of arrays, which the format does not allow.")
    if kind != STRING and kind not in SCALARS:
        raise cursor.fail(f"damaged: {key!r} has elements of the unknown type {kind}.")
    least = 8 if kind == STRING else struct.calcsize(SCALARS[kind])
    if count * least > cursor.source.size - cursor.position:
        raise cursor.fail(f"truncated or damaged: {key!r} claims {count} elements, more than the file can hold.")
    if kind == STRING:
        if count <= 64:
            return [cursor.raw_string(f"an element of {key!r}", MAX_STRING).decode(errors="replace") for _ in range(count)]
        skip_strings(cursor, key, count)
        return LongArray(count)
    if count <= MAX_KEPT:
        return list(cursor.take(f"{count}{SCALARS[kind]}", f"the array {key!r}"))
    skip_bytes(cursor, count * least, f"the array {key!r}")
    return LongArray(count)


def skip_bytes(cursor: Cursor, count: int, what: str) -> None:
    while count:
        step = min(count, CHUNK)
        cursor.need(step, what)
        cursor.at += step
        count -= step


def skip_strings(cursor: Cursor, key: str, count: int) -> None:
    """A vocabulary has hundreds of thousands of strings: the common case, all in the window, is kept to a few operations."""
    unpack, what = struct.Struct("<Q").unpack_from, f"an element of {key!r}"
    done = 0
    while done < count:
        cursor.need(8, what)
        window, at, last = cursor.window, cursor.at, len(cursor.window) - 8
        while done < count and at <= last:
            end = at + 8 + unpack(window, at)[0]
            if end > last + 8:
                break
            at, done = end, done + 1
        cursor.at = at
        if done < count and at <= last:
            cursor.raw_string(what, MAX_STRING)
            done += 1


def read_tensors(cursor: Cursor, count: int) -> list[Tensor]:
    tensors, names = [], set()
    for index in range(count):
        tensor = read_tensor(cursor, index)
        if tensor.name in names:
            raise cursor.fail(f"damaged: the tensor {tensor.name!r} occurs twice.")
        names.add(tensor.name)
        tensors.append(tensor)
    return tensors


def read_tensor(cursor: Cursor, index: int) -> Tensor:
    name = cursor.name(f"the name of tensor {index}")
    dimensions = cursor.integer("I", f"the dimensions of {name!r}")
    if not 1 <= dimensions <= MAX_DIMENSIONS:
        raise cursor.fail(f"damaged: the tensor {name!r} has {dimensions} dimensions.")
    shape = tuple(int(extent) for extent in cursor.take(f"{dimensions}q", f"the shape of {name!r}"))
    number = cursor.integer("I", f"the type of {name!r}")
    offset = cursor.integer("Q", f"the offset of {name!r}")
    if number not in TENSOR_TYPES:
        raise cursor.fail(f"the tensor {name!r} has type {number}, which this version does not know.")
    tensor = Tensor(name, shape, TENSOR_TYPES[number], offset)
    if min(shape) < 1 or tensor.elements >= 1 << 63:
        raise cursor.fail(f"damaged: the tensor {name!r} has the impossible shape {list(shape)}.")
    if shape[0] % tensor.type.block:
        raise cursor.fail(
            f"damaged: rows of {name!r} have {shape[0]} elements, not a multiple of {tensor.type.name}'s {tensor.type.block}."
        )
    return tensor


def check_extent(cursor: Cursor, header: Header) -> None:
    """Tensor data must follow each other and end inside the file: a download that broke off shows here."""
    alignment = header.metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1) or alignment > 1 << 20:
        raise cursor.fail(f"damaged: the alignment {alignment!r} is not a power of two.")
    expected = 0
    for tensor in header.tensors:
        if tensor.offset != expected:
            raise cursor.fail(f"damaged: the data of {tensor.name!r} starts at {tensor.offset} where {expected} is due.")
        expected += padded(tensor.bytes, alignment)
    begin = padded(header.header_bytes, alignment)
    last = header.tensors[-1].offset + header.tensors[-1].bytes if header.tensors else 0
    if header.tensors and begin + last > header.file_bytes:
        raise cursor.fail(f"incomplete: its tensors end at byte {begin + last}, the file at byte {header.file_bytes}.")


def padded(count: int, to: int) -> int:
    return (count + to - 1) // to * to
