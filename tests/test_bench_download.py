"""Models by name, from a stand-in for the hub."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from art_local.bench import download
from art_local.bench.model import resolve
from art_local.errors import UserError

CONTENT = bytes(range(256)) * 4096


class Hub(BaseHTTPRequestHandler):
    cut = 0  # break the connection after that many bytes
    content = CONTENT
    down = False

    def do_GET(self) -> None:
        if Hub.down:
            self.answer(503, b"")
        elif self.path.startswith("/api/models/me/model/"):
            self.answer(
                200, json.dumps([{"path": name, "type": "file"} for name in ("m-Q4_K_M.gguf", "m-Q8_0.gguf", "README.md")]).encode()
            )
        elif self.path == "/me/model/resolve/main/m-Q8_0.gguf":
            same = self.headers["If-Range"] in (None, Hub.tag())
            begin = int((self.headers["Range"] or "bytes=0-")[6:-1]) if same else 0
            self.answer(416 if begin >= len(Hub.content) else 206 if begin else 200, Hub.content[begin:])
        else:
            self.answer(404, b"")

    def answer(self, code: int, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", Hub.tag())
        self.end_headers()
        self.wfile.write(body[: Hub.cut] if Hub.cut and len(body) > Hub.cut else body)

    @staticmethod
    def tag() -> str:
        return f'"{hashlib.sha256(Hub.content).hexdigest()}"'

    def log_message(self, format: str, *rest: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("ART_LOCAL_CACHE", str(tmp_path / "cache"))
    for name in ("HF_HUB_CACHE", "MODEL_ENDPOINT", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (("cut", 0), ("content", CONTENT), ("down", False)):
        monkeypatch.setattr(Hub, name, value)
    yield tmp_path
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_model_is_downloaded_once(hub: Path) -> None:
    said: list[str] = []
    path = download.fetch("me/model:Q8_0", said.append)
    assert path == hub / "cache" / "models" / "me--model" / "m-Q8_0.gguf" and path.read_bytes() == CONTENT
    assert len(said) > 1
    said.clear()
    assert download.fetch("me/model:Q8_0", said.append) == path and not said


def test_a_broken_download_goes_on(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hub, "cut", 300_000)
    with pytest.raises(UserError, match="the same command goes on"):
        download.fetch("me/model:Q8_0", lambda text: None)
    part = hub / "cache" / "models" / "me--model" / "m-Q8_0.gguf.part"
    assert 0 < part.stat().st_size <= 300_000
    monkeypatch.setattr(Hub, "cut", 0)
    assert download.fetch("me/model:Q8_0", lambda text: None).read_bytes() == CONTENT
    assert not part.exists()


def test_a_file_that_changed_meanwhile_is_not_spliced(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hub, "cut", 300_000)
    with pytest.raises(UserError, match="the same command goes on"):
        download.fetch("me/model:Q8_0", lambda text: None)
    monkeypatch.setattr(Hub, "cut", 0)
    monkeypatch.setattr(Hub, "content", CONTENT[::-1])
    path = download.fetch("me/model:Q8_0", lambda text: None)
    assert path.read_bytes() == CONTENT[::-1] and [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("tagged", [True, False])
def test_a_complete_part_is_no_dead_end(hub: Path, tagged: bool) -> None:
    part = hub / "cache" / "models" / "me--model" / "m-Q8_0.gguf.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT)
    if tagged:
        download.tag_of(part).write_text(Hub.tag(), encoding="utf-8")
    assert download.fetch("me/model:Q8_0", lambda text: None).read_bytes() == CONTENT


def test_what_is_here_runs_without_the_hub(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = download.fetch("me/model:Q8_0", lambda text: None)
    monkeypatch.setattr(Hub, "down", True)
    said: list[str] = []
    assert download.fetch("me/model:Q8_0", said.append) == path and str(path) in said[0]
    mine = hub / "hf" / "hub" / "models--me--model" / "snapshots" / "abc" / "m-Q4_K_M.gguf"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    assert download.fetch("me/model", said.append) == mine
    for absent in ("me/model:Q3_K", "me/other:Q8_0"):
        with pytest.raises(UserError, match="list of files cannot be fetched"):
            download.fetch(absent, said.append)


def test_the_users_own_cache_comes_first(hub: Path) -> None:
    mine = hub / "hf" / "hub" / "models--me--model" / "snapshots" / "abc" / "m-Q8_0.gguf"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    assert download.fetch("me/model:Q8_0", lambda text: None) == mine


MISSING = [("me/other", "no such model"), ("me/model:Q3_K", "no GGUF file"), ("me", "-hf takes"), ("a/b/c", "-hf takes")]


@pytest.mark.parametrize(("name", "sentence"), MISSING)
def test_what_is_not_there_gets_a_sentence(hub: Path, name: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        download.fetch(name, lambda text: None)


def test_a_shape_has_nothing_to_run() -> None:
    with pytest.raises(UserError, match="without weights"):
        resolve("llama-3.1-8b:Q4_K_S")


def test_a_server_cannot_write_elsewhere(hub: Path) -> None:
    with pytest.raises(UserError, match="not taken"):
        download.target("me/model", "../../../evil.gguf")
