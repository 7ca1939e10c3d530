"""From what a person types (a path, a shape's name, user/model:quant on a model hub) to the header of the whole model."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

from art_local.errors import UsageError, UserError
from art_local.model import shape
from art_local.model.header import Header, read_header
from art_local.model.source import FileSource, RangeSource

SPLIT = re.compile(r"^(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf$")
MAX_PARTS = 999


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
    match = SPLIT.match(path.name)
    if not match or int(match["count"]) != count or not 1 < count <= MAX_PARTS:
        raise UserError(f"{path}: says that it is one of {count} parts, but is not named like one (name-00001-of-{count:05}.gguf).")
    names = [path.with_name(f"{match['stem']}-{number:05}-of-{count:05}.gguf") for number in range(1, count + 1)]
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
    import httpx

    repository, _, tag = reference.partition(":")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise UsageError(f"-hf takes user/model or user/model:quant, not '{reference}'.")
    endpoint = (os.environ.get("MODEL_ENDPOINT") or os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
    token = os.environ.get("HF_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with httpx.Client(headers=headers, follow_redirects=True, timeout=20) as client:
        names = choose(reference, listing(client, f"{endpoint}/api/models/{repository}/tree/main?recursive=true", repository), tag)
        parts = [read_header(RangeSource(client, f"{endpoint}/{repository}/resolve/main/{name}")) for name in names]
    return parts[0] if len(parts) == 1 else joined(parts)


def listing(client: object, url: str, repository: str) -> list[str]:
    import httpx

    assert isinstance(client, httpx.Client)
    try:
        answer = client.get(url)
        if answer.status_code in (401, 403, 404):
            raise UserError(f"{repository}: there is no such model, or it is gated and needs HF_TOKEN.")
        answer.raise_for_status()
        files = [entry["path"] for entry in answer.json() if entry.get("type", "file") == "file"]
    except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{repository}: its list of files cannot be fetched: {str(error) or type(error).__name__}.") from error
    return [name for name in files if isinstance(name, str) and name.endswith(".gguf") and "mmproj" not in name.lower()]


def choose(reference: str, files: list[str], tag: str) -> list[str]:
    """llama.cpp's rule: the tag, by default Q4_K_M, else the first file; with all its parts."""

    def matching(wanted: str) -> list[str]:
        pattern = re.compile(rf"(^|[^a-z0-9]){re.escape(wanted.lower())}(?![a-z0-9_])")
        return sorted(name for name in files if pattern.search(name.lower()))

    found = matching(tag) if tag else matching("Q4_K_M") or sorted(files)
    if not found:
        raise UserError(f"{reference}: no GGUF file for it; there are {', '.join(sorted(files)[:12]) or 'none at all'}.")
    match = SPLIT.match(found[0])
    if not match:
        return found[:1]
    parts = [f"{match['stem']}-{number:05}-of-{match['count']}.gguf" for number in range(1, min(int(match["count"]), MAX_PARTS) + 1)]
    if missing := [name for name in parts if name not in files]:
        raise UserError(f"{reference}: the part {missing[0]} is missing on the server.")
    return parts
