"""From what a person types (a path, a shape's name, user/model:quant on a model hub) to the header of the whole model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from art_local.errors import UsageError, UserError
from art_local.model import hub, shape
from art_local.model.header import Header, read_header
from art_local.model.parts import part_names
from art_local.model.source import FileSource, RangeSource


def load(model: str | None, hf: str | None = None) -> Header:
    if hf and model:
        raise UsageError("Name one model, by its file or by -hf, not both.")
    if hf:
        return load_remote(hf)
    if not model:
        raise UsageError("Name a model: a .gguf file, a shape such as llama-3.1-8b:Q4_K_M, or -hf user/model:Q4_K_M.")
    path = Path(model)
    if model.endswith(".json") and path.exists():
        return shape.from_file(path, None)
    if not path.exists() and (named := shape.find(model)):
        return named
    if not path.exists() and not model.endswith(".gguf"):
        raise UserError(f"{model}: no such file; the shapes that come with art-local are {', '.join(shape.names())}.")
    return load_file(path)


def load_file(path: Path) -> Header:
    header = read_file(path)
    count = header.metadata.get("split.count", 0)
    if not isinstance(count, int) or count <= 1:
        return header
    names = [path.with_name(name) for name in part_names(path.name)]
    if len(names) != count:
        raise UserError(f"{path}: says that it is one of {count} parts, but is not named like one (name-00001-of-{count:05}.gguf).")
    missing = [name.name for name in names if not name.exists()]
    if missing:
        raise UserError(f"{path}: {len(missing)} of {count} parts are missing, the first is {missing[0]}.")
    return joined([header if name == path else read_file(name) for name in names])


def read_file(path: Path) -> Header:
    source = FileSource(path)
    try:
        return read_header(source)
    finally:
        source.close()


def joined(parts: list[Header]) -> Header:
    """One header out of a split model's parts: metadata of the first, tensors of all."""
    first = parts[0]
    for number, part in enumerate(parts):
        if part.metadata.get("split.no") != number or part.metadata.get("split.count") != len(parts):
            raise UserError(f"{part.parts[0]}: its metadata does not say that it is part {number + 1} of {len(parts)}.")
    tensors = [tensor for part in parts for tensor in part.tensors]
    total = first.metadata.get("split.tensors.count")
    if total != len(tensors) or len({tensor.name for tensor in tensors}) != len(tensors):
        raise UserError(f"{first.parts[0]}: the parts hold {len(tensors)} tensors where {total} different ones are due.")
    return replace(
        first,
        tensors=tensors,
        header_bytes=sum(part.header_bytes for part in parts),
        file_bytes=sum(part.file_bytes for part in parts),
        parts=[name for part in parts for name in part.parts],
    )


def load_remote(reference: str) -> Header:
    with hub.model(reference, timeout=20) as (client, files):
        parts = [read_header(RangeSource(client, url)) for url in files.values()]
    return parts[0] if len(parts) == 1 else joined(parts)
