"""Stand-ins for the bench's tests: programs that print what llama-bench prints, at once, and a model with nothing in it."""

from __future__ import annotations

import json
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from art_local.bench.configuration import Configuration, Plan
from art_local.bench.facts import Facts
from art_local.bench.results import Results
from art_local.bench.rounds import Bench

FAKE = r"""#!{python} -IS
import json, os, sys, time
given = dict(zip(sys.argv[1:], sys.argv[2:]))
how = json.loads(open(__file__ + ".json").read())
if "--help" in sys.argv:
    print("--art off" if how.get("art", True) else "nothing")
    sys.exit(0)
depth, mode = int(given.get("-d", given.get("-npp", 0))), given.get("--art", "off")
with open(__file__ + ".log", "a") as log:
    log.write(" ".join(sys.argv[1:]) + "\n")
if how.get("usage") in sys.argv:
    print("error: invalid parameter for argument: " + how["usage"], file=sys.stderr)
    print("usage: llama-bench [options]")
    sys.exit(1)
print("llama-bench: benchmark 1/1: generation run 1/1", file=sys.stderr, flush=True)
time.sleep(how.get("seconds", 0))
if mode in how.get("refused", []):
    print(f"error: --art {mode}: no backend of this build implements it", file=sys.stderr)
    sys.exit(1)
if depth >= how.get("memory", 1 << 40):
    aloud = "ggml_backend_cpu: failed to allocate buffer of size 99"
    silent = "llama_bench: error: failed to create context with model '/home/me/.cache/art-local/models/x.gguf'"
    print(aloud if "-v" in sys.argv else silent, file=sys.stderr)
    sys.exit(1)
if how.get("signal"):
    os.kill(os.getpid(), how["signal"])
speed = how.get("speeds", {}).get(mode, 100.0) / (1 + depth / 8192)
if "-npl" in given:
    print("main: something else first")
    batch = int(given["-npl"])
    print(json.dumps({"pl": batch, "pp": depth, "tg": int(given["-ntg"]), "t_tg": 1.0, "speed_tg": speed * batch}))
    sys.exit(0)
record = {"build_commit": "abc", "model_type": "fake 1B", "model_size": 10**6}
record.update({"type_k": given["-ctk"], "n_depth": depth, "new_field": [1, 2]})
art = {"art_mode": mode, "art_read_share": 0.25 if mode == "ranked" else None, "art_byte_share": 0.3 if mode == "ranked" else None}
for prompt, generate in ((int(given["-p"]), 0), (0, int(given["-n"]))) * len(given.get("-t", "1").split(",")):
    if prompt or generate:
        samples = [speed * (1 + 0.01 * number) for number in range(int(given["-r"]))]
        own = {"n_prompt": prompt, "n_gen": generate, "avg_ts": samples[0], "stddev_ts": 0.1, "samples_ts": samples}
        print(json.dumps({**record, **own, **(art if "--art" in given else {})}), flush=True)
"""


@dataclass(frozen=True)
class FakeProgram:
    path: Path
    knows_art: bool = True
    build: str = "patched"


@dataclass(frozen=True)
class FakePrograms:
    folder: Path
    knows_art: bool = True

    def program(self, configuration: Configuration) -> FakeProgram:
        return FakeProgram(self.folder / configuration.program, self.knows_art)


def fake_programs(folder: Path, **how: Any) -> FakePrograms:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("llama-bench", "llama-batched-bench"):
        path = folder / name
        path.write_text(FAKE.replace("{python}", sys.executable), encoding="utf-8")
        path.with_name(name + ".json").write_text(json.dumps(how), encoding="utf-8")
        path.chmod(0o755)
    return FakePrograms(folder, how.get("art", True))


def asked(programs: FakePrograms, name: str = "llama-bench") -> list[str]:
    """The command lines that a stand-in was given."""
    log = programs.folder / f"{name}.log"
    return log.read_text(encoding="utf-8").splitlines() if log.exists() else []


def facts(sha256: str = "5ha", card: str = "RTX 3090", bandwidth: float | None = 936e9) -> Facts:
    model = {"name": "fake-1B-Q4_K.gguf", "sha256": sha256, "bytes": 1_000_000, "kv_bytes_per_token": {"q8_0": 2000, "f16": 4000}}
    machine = {"processor": "test", "cores": 4, "bandwidth": bandwidth, "cards": [{"name": card, "memory": 24 << 30}]}
    return Facts(model, machine, {"preset": "cpu", "gpu": False, "series": "0123"}, load=None)


def bench(
    folder: Path, plan: Plan, programs: FakePrograms, name: str = "r.jsonl", resume: bool = False, about: Facts | None = None
) -> Results:
    results = Results.start(folder / name, resume)
    Bench(Path("model.gguf"), plan, programs, about or facts(), results).run()
    return results


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def tiny_gguf(path: Path) -> Path:
    """The smallest file that is a GGUF: one key, one tensor."""
    key = text("general.architecture") + struct.pack("<I", 8) + text("llama")
    tensor = text("token_embd.weight") + struct.pack("<IqIQ", 1, 32, 0, 0)
    header = b"GGUF" + struct.pack("<Iqq", 3, 1, 1) + key + tensor
    path.write_bytes(header + bytes(-len(header) % 32) + bytes(128))
    return path
