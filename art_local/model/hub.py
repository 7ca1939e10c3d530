"""A model hub, spoken to as llama.cpp speaks to it: user/model:quant to the addresses of that model's files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from art_local.errors import UsageError, UserError
from art_local.model.parts import part_names

if TYPE_CHECKING:
    import httpx

NAME = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)(:(?P<tag>[\w.-]+))?")


class Unreachable(UserError):
    """Nothing is known about what the hub has."""


@contextmanager
def model(reference: str, timeout: float) -> Iterator[tuple[httpx.Client, dict[str, str]]]:
    """A client, and the address of each of the model's files by its name; of a model in parts, all of them in order."""
    import httpx

    match = NAME.fullmatch(reference)
    if not match:
        raise UsageError(f"-hf takes user/model or user/model:quant, not '{reference}'.")
    repository = match["repository"]
    endpoint = (os.environ.get("MODEL_ENDPOINT") or os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
    token = os.environ.get("HF_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with httpx.Client(headers=headers, follow_redirects=True, timeout=timeout) as client:
        names = choose(reference, listing(client, f"{endpoint}/api/models/{repository}/tree/main?recursive=true", repository), match["tag"])
        yield client, {name: f"{endpoint}/{repository}/resolve/main/{name}" for name in names}


def listing(client: httpx.Client, url: str, repository: str) -> list[str]:
    import httpx

    try:
        answer = client.get(url)
        if answer.status_code in (401, 403, 404):
            raise UserError(f"{repository}: there is no such model, or it is gated and needs HF_TOKEN.")
        answer.raise_for_status()
        files = [entry["path"] for entry in answer.json() if entry.get("type", "file") == "file"]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError, AttributeError) as error:
        why = (str(error) or type(error).__name__).rstrip(".")
        raise Unreachable(f"{repository}: its list of files cannot be fetched: {why}.") from error
    return [name for name in files if isinstance(name, str) and name.endswith(".gguf") and "mmproj" not in name.lower()]


def choose(reference: str, files: list[str], tag: str | None) -> list[str]:
    """llama.cpp's rule: the tag, by default Q4_K_M, else the first file; with all its parts."""

    def matching(wanted: str) -> list[str]:
        pattern = re.compile(rf"(^|[^a-z0-9]){re.escape(wanted.lower())}(?![a-z0-9_])")
        return sorted(name for name in files if pattern.search(name.lower()))

    found = matching(tag) if tag else matching("Q4_K_M") or sorted(files)
    if not found:
        raise UserError(f"{reference}: no GGUF file for it; there are {', '.join(sorted(files)[:12]) or 'none at all'}.")
    parts = part_names(found[0])
    if missing := [name for name in parts if name not in files]:
        raise UserError(f"{reference}: the part {missing[0]} is missing on the server.")
    return parts
