"""Models by their Hugging Face name: taken from the user's Hugging Face cache if they are there, else downloaded into ours."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
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
    try:
        with hub.model(reference, timeout=60) as (client, files):
            if all(here := [cached(repository, name) for name in files]) and here[0]:
                return here[0]
            first, *_ = [download(client, url, target(repository, name), say) for name, url in files.items()]
            return first
    except hub.Unreachable as error:
        if found := kept(reference):
            say(f"notice: {error} Taken as it is here: {found}")
            return found
        raise


def kept(reference: str) -> Path | None:
    """What the reference names among the files that are here, by the hub's own rule."""
    repository, _, tag = reference.partition(":")
    for folder in (*snapshots(repository), target(repository, "")):
        names = [file.relative_to(folder).as_posix() for file in sorted(folder.rglob("*.gguf")) if "mmproj" not in file.name.lower()]
        with suppress(UserError):
            return folder / hub.choose(reference, names, tag or None)[0]
    return None


def snapshots(repository: str) -> list[Path]:
    """Where huggingface_hub and llama.cpp keep what they have downloaded."""
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    hub = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
    return sorted((hub / f"models--{repository.replace('/', '--')}" / "snapshots").glob("*"))


def cached(repository: str, name: str) -> Path | None:
    return next((folder / name for folder in snapshots(repository) if (folder / name).is_file()), None)


def target(repository: str, name: str) -> Path:
    folder = (checkout.cache() / "models" / repository.replace("/", "--")).resolve()
    path = (folder / name).resolve()
    if not path.is_relative_to(folder):  # the name comes from a server
        raise UserError(f"{repository}: its file '{name}' has a name that is not taken.")
    return path


def download(client: httpx.Client, url: str, path: Path, say: Say) -> Path:
    """In place only when complete; what a broken connection left is gone on with, if the server still has that file."""
    import httpx

    if path.exists():
        return path
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not arrives(client, url, part, say):
            part.unlink()
            arrives(client, url, part, say)
        part.replace(path)
        tag_of(part).unlink(missing_ok=True)
    except (httpx.HTTPError, ValueError) as error:
        why = str(error) or type(error).__name__
        raise UserError(f"{path.name} could not be downloaded: {why}; the same command goes on with it.") from None
    except OSError as error:
        raise UserError(f"{path.name} could not be kept in {path.parent}: {error.strerror or error}.") from None
    return path


def arrives(client: httpx.Client, url: str, part: Path, say: Say) -> bool:
    """False where the part that is here is not the beginning of what the server has."""
    known = tag_of(part).read_text(encoding="utf-8") if part.exists() and tag_of(part).exists() else ""
    have = part.stat().st_size if known else 0  # nobody knows what a part without its tag is of
    with client.stream("GET", url, headers={"Range": f"bytes={have}-", "If-Range": known} if have else {}) as answer:
        tag = answer.headers.get("etag") or ""
        if have and (answer.status_code == 416 or (answer.status_code == 206 and tag != known)):
            return False
        answer.raise_for_status()
        have = have if answer.status_code == 206 else 0
        size = have + int(answer.headers.get("content-length", 0))
        say(f"downloading {part.stem}, {size / 2**30:.2f} GiB, into {part.parent}")
        tag_of(part).write_text("" if tag.startswith("W/") else tag, encoding="utf-8")  # a weak one promises no bytes
        keep(answer, part, have, size, say)
    if part.stat().st_size != size:
        raise UserError(f"{part.stem} arrived incomplete; the same command goes on with it.")
    return True


def tag_of(part: Path) -> Path:
    """Where the server's name for this very content is kept."""
    return part.with_name(part.name + ".etag")


def keep(answer: httpx.Response, part: Path, have: int, size: int, say: Say) -> None:
    tenths = 0
    with part.open("ab" if have else "wb") as stream:
        for block in answer.iter_bytes(1 << 16):
            stream.write(block)
            have += len(block)
            if size and 10 * have // size > tenths:
                tenths = 10 * have // size
                say(f"  {tenths * 10} %")
