"""Where header bytes come from: a file on disk, or byte ranges of a file on a web server. Neither is ever read whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from art_local.errors import UserError

if TYPE_CHECKING:
    import httpx

CHUNK = 1 << 20


class Source(Protocol):
    name: str
    size: int

    def read(self, offset: int, count: int) -> bytes: ...


class FileSource:
    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise UserError(f"{path}: no such file.")
        if not path.is_file():
            raise UserError(f"{path}: not a regular file.")
        try:
            self.file = path.open("rb")
        except OSError as error:
            raise UserError(f"{path}: cannot be opened: {error.strerror}.") from error
        self.name = str(path)
        self.size = os.fstat(self.file.fileno()).st_size

    def read(self, offset: int, count: int) -> bytes:
        self.file.seek(offset)
        return self.file.read(count)

    def close(self) -> None:
        self.file.close()


class RangeSource:
    """A remote file by HTTP range requests; the first answer tells its size."""

    def __init__(self, client: httpx.Client, url: str) -> None:
        self.client, self.url = client, url
        self.name = url.rsplit("/", 1)[-1]
        self.first = self.fetch(0, CHUNK)

    def fetch(self, offset: int, count: int) -> bytes:
        import httpx

        headers = {"Range": f"bytes={offset}-{offset + count - 1}"}
        try:
            # streamed, because a server may ignore the range and send 40 GB
            with self.client.stream("GET", self.url, headers=headers) as response:
                if response.status_code == 404:
                    raise UserError(f"{self.name}: the server has no such file.")
                if response.status_code in (401, 403):
                    raise UserError(f"{self.name}: the server refuses access; set HF_TOKEN if the model is gated.")
                if response.status_code not in (200, 206) or (response.status_code == 200 and offset):
                    raise UserError(f"{self.name}: the server answered {response.status_code} to a range request.")
                total = response.headers.get("content-range", "").rpartition("/")[2] or response.headers.get("content-length", "")
                if not total.isdigit():
                    raise UserError(f"{self.name}: the server does not tell the size of the file.")
                self.size = int(total)
                data = b""
                for piece in response.iter_bytes(65536):
                    data += piece
                    if len(data) >= count:
                        break
                return data[:count]
        except httpx.HTTPError as error:
            raise UserError(f"{self.name}: cannot be fetched: {error or type(error).__name__}.") from error

    def read(self, offset: int, count: int) -> bytes:
        if offset + count <= len(self.first):
            return self.first[offset : offset + count]
        return self.fetch(offset, count) if offset < self.size else b""

    def close(self) -> None:
        pass
