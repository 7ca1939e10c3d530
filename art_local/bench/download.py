"""Models by their Hugging Face name: taken from the user's Hugging Face cache if they are there, else downloaded into ours."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from art_local import checkout
from art_local.errors import UserError
from art_local.model import hub

if TYPE_CHECKING:
    import httpx

Say = Callable[[str], Any]


def fetch(reference: str, say: Say) -> Path:
    """The file on this machine; of a model in parts, the first."""
    repository = reference.partition(":")[0]
    with hub.model(reference, timeout=60) as (client, files):
        if all(here := [cached(repository, name) for name in files]) and here[0]:
            return here[0]
        first, *_ = [download(client, url, target(repository, name), say) for name, url in files.items()]
        return first


def cached(repository: str, name: str) -> Path | None:
    """Where huggingface_hub and llama.cpp keep what they have downloaded."""
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    hub = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
    snapshots = hub / f"models--{repository.replace('/', '--')}" / "snapshots"
    return next((path for path in sorted(snapshots.glob(f"*/{name}")) if path.is_file()), None)


def target(repository: str, name: str) -> Path:
    folder = (checkout.cache() / "models" / repository.replace("/", "--")).resolve()
    path = (folder / name).resolve()
    if not path.is_relative_to(folder):  # the name comes from a server
        raise UserError(f"{repository}: its file '{name}' has a name that is not taken.")
    return path


def download(client: httpx.Client, url: str, path: Path, say: Say) -> Path:
    """In place only when complete; what a broken connection left is gone on with."""
    import httpx

    if path.exists():
        return path
    part = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    have = part.stat().st_size if part.exists() else 0
    try:
        with client.stream("GET", url, headers={"Range": f"bytes={have}-"} if have else {}) as answer:
            answer.raise_for_status()
            have = have if answer.status_code == 206 else 0
            size = have + int(answer.headers.get("content-length", 0))
            say(f"downloading {path.name}, {size / 2**30:.2f} GiB, into {path.parent}")
            keep(answer, part, have, size, say)
    except (httpx.HTTPError, ValueError) as error:
        why = str(error) or type(error).__name__
        raise UserError(f"{path.name} could not be downloaded: {why}; the same command goes on with it.") from None
    except OSError as error:
        raise UserError(f"{path.name} could not be kept in {path.parent}: {error.strerror or error}.") from None
    if part.stat().st_size != size:
        raise UserError(f"{path.name} arrived incomplete; the same command goes on with it.")
    part.replace(path)
    return path


def keep(answer: httpx.Response, part: Path, have: int, size: int, say: Say) -> None:
    tenths = 0
    with part.open("ab" if have else "wb") as stream:
        for block in answer.iter_bytes(1 << 16):
            stream.write(block)
            have += len(block)
            if size and 10 * have // size > tenths:
                tenths = 10 * have // size
                say(f"  {tenths * 10} %")
