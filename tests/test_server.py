"""llama-server: overrides within the operator's limits, read share in timings and metrics, settings in props."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from art_local.building.presets import Preset

pytestmark = pytest.mark.built

PROMPT = "The history of measurement begins with the human body. " * 20


class Server:
    def __init__(self, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"

    def ask(self, path: str, body: dict[str, Any] | None = None) -> tuple[int, str]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=600) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def complete(self, **override: Any) -> tuple[int, dict[str, Any]]:
        body = {"prompt": PROMPT, "n_predict": 4, "temperature": 0, "cache_prompt": False, **override}
        code, text = self.ask("/completion", body)
        return code, json.loads(text)


@contextmanager
def serving(patched: Preset, model: Path, *arguments: str, **environment: str) -> Iterator[Server]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    fixed = ["-m", str(model), "--port", str(port), "-c", "1024", "-np", "1", "-t", "1", "-fa", "on", "--metrics", "--no-warmup"]
    process = subprocess.Popen(
        [str(patched.program("llama-server")), *fixed, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **environment},
    )
    try:
        server = Server(port)
        for _ in range(600):
            assert process.poll() is None, "the server ended"
            try:
                if server.ask("/health")[0] == 200:
                    break
            except OSError:
                pass
            time.sleep(0.1)
        yield server
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture(scope="module")
def ranked(patched: Preset, demo: Path) -> Iterator[Server]:
    with serving(patched, demo, "-ctk", "q8_0", "-ctv", "q8_0", "--art", "ranked") as server:
        yield server


def test_props_show_the_settings(ranked: Server) -> None:
    props = json.loads(ranked.ask("/props")[1])
    assert props["art"]["mode"] == props["default_generation_settings"]["params"]["art_mode"] == "ranked"


@pytest.mark.parametrize("override", [{}, {"art_mode": "exact"}, {"art_mode": "off"}, {"art_eps": 0.0}, {"art_eps": 0.03}])
def test_an_override_within_the_limits_is_taken(ranked: Server, override: dict[str, Any]) -> None:
    code, answer = ranked.complete(**override)
    assert code == 200
    assert answer["generation_settings"]["art_mode"] == override.get("art_mode", "ranked")
    if override.get("art_mode") != "off":
        art = answer["timings"]["art"]
        assert 0 < art["read_share"] <= 1 and art["tiles_read"] <= art["tiles_total"]


@pytest.mark.parametrize(
    "override",
    [{"art_eps": 2}, {"art_eps": -1}, {"art_eps": "x"}, {"art_eps": 0.5}, {"art_mode": "stability"}, {"art_mode": "foo"}, {"art_mode": 3}],
)
def test_a_request_cannot_go_beyond_the_operators_limits(ranked: Server, override: dict[str, Any]) -> None:
    code, answer = ranked.complete(**override)
    assert code == 400 and "art" in answer["error"]["message"]
    code, _ = ranked.ask("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 4, **override})
    assert code == 400


def test_metrics_count_tiles(ranked: Server) -> None:
    ranked.complete()
    assert re.search(r"^\S*art_tiles_total\S* [1-9]", ranked.ask("/metrics")[1], re.MULTILINE)


def test_a_server_in_mode_off_allows_no_other(patched: Preset, demo: Path) -> None:
    with serving(patched, demo) as server:
        code, answer = server.complete()
        assert code == 200 and answer["timings"].get("art") is None
        assert server.complete(art_mode="ranked")[0] == 400
