#!/usr/bin/env python3
"""Prove the builds of scripts/gpu/build.sh right, on a GPU machine without a network: tests, sanitizers, repeats, greedy tokens.

    python prove.py WORK_FOLDER MODEL.gguf OUT_FOLDER [--steps ops,memcheck,racecheck,initcheck,repeat,greedy,ptx86]
                    [--device CUDA0] [--kv q8_0] [--prompt 4096] [--generate 200] [--repeats 100] [--limit 240] [--gap 0.2]

ops        test-backend-ops -o ART on the device; then with ART_TEST_BREAK, where most cases have to fail
memcheck   compute-sanitizer on a selection of the same cases; so do racecheck and initcheck, on our kernels only
repeat     every case again and again (--repeats): output and counters must have the same bits
greedy     tokens of the stock build against exact, and the counters of exact and ranked, through llama-server: whole model on
           the device, half of its layers, KV cache on the host, and two devices where there are two
ptx86      the kernel lab, built as PTX of compute capability 8.6 and held to the shared memory of a 3090: right, and timed

Where tokens differ from stock's, the step passes if at the first difference stock itself saw the two tokens less than --gap apart
(logarithms of their probabilities): rounding decides there. A step that fails stops no other. One log a step, and summary.md.
WORK_FOLDER holds tree/build and tree-stock/build; --patched and --stock name other folders of programs.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

STEPS = ("ops", "memcheck", "racecheck", "initcheck", "repeat", "greedy", "ptx86")
# One case for each kernel at least: modes, types and head sizes, masks with holes, lengths that are no multiple of anything.
FEW = "input=(holes|peaked),.*head_size=(64|128|256),.*n_kv=(113|512|1001|4096|5003),|type=q4_0,.*n_kv=65536"
BROKEN = "mode=ranked,input=(graded|needle|peaked),.*n_kv=(4096|5003|8192),.*eps=-1"


@dataclass
class Outcome:
    step: str
    passed: bool | None  # None: could not be tried
    what: str
    seconds: float = 0.0


class Proof:
    def __init__(self, chosen: argparse.Namespace) -> None:
        self.chosen = chosen
        self.out: Path = chosen.out
        self.patched: Path = chosen.patched or chosen.work / "tree" / "build" / "bin"
        self.stock: Path = chosen.stock or chosen.work / "tree-stock" / "build" / "bin"
        self.outcomes: list[Outcome] = []

    # op tests ------------------------------------------------------------------------------------------------------------

    def cases(self, log: Path, only: str | None = None, before: tuple[str, ...] = (), **environment: str) -> tuple[int | None, str]:
        """test-backend-ops on the device, its output kept; the exit status (None: out of time) and that output."""
        command = [*before, str(self.patched / "test-backend-ops"), "test", "-o", "ART", "-b", self.chosen.device]
        command += ["-p", only] if only else []
        with log.open("a") as file:
            file.write(f"$ {' '.join(f'{key}={value}' for key, value in environment.items())} {' '.join(command)}\n")
            file.flush()
            start = file.tell()
            try:
                code: int | None = subprocess.run(
                    command, stdout=file, stderr=subprocess.STDOUT, env={**os.environ, **environment}, timeout=self.chosen.limit
                ).returncode
            except subprocess.TimeoutExpired:
                code = None
        return code, log.read_bytes()[start:].decode("utf-8", "replace")

    def ops(self) -> Iterator[Outcome]:
        log = self.out / "ops.log"
        code, text = self.cases(log)
        ran = counted(text)
        yield Outcome("ops", code == 0 and ran["OK"] > 0, told(ran, code))
        for fault in ("stop", "stale", "drift"):
            code, text = self.cases(log, BROKEN, ART_TEST_BREAK=fault, ART_TEST_REPEAT="3")
            ran = counted(text)
            most = ran["FAIL"] > ran["OK"] and code not in (0, None)
            yield Outcome(f"ops, broken: {fault}", most, f"{ran['FAIL']} of {ran['FAIL'] + ran['OK']} cases notice")

    def repeat(self) -> Iterator[Outcome]:
        code, text = self.cases(self.out / "repeat.log", ART_TEST_REPEAT=str(self.chosen.repeats))
        ran, other = counted(text), text.count(" gives another ")
        # a case that fails for another reason than its bits is the business of step ops
        same = code is not None and other == 0 and ran["OK"] > 0
        yield Outcome(f"{self.chosen.repeats} repeats", same, f"{told(ran, code)}; {other} with other bits")

    def sanitize(self, tool: str) -> Iterator[Outcome]:
        program = shutil.which("compute-sanitizer")
        if program is None:
            yield Outcome(tool, None, "compute-sanitizer is not here")
            return
        ours = () if tool == "memcheck" else ("--kernel-name", "kns=N3art")  # those of namespace art
        before = (program, "--tool", tool, "--error-exitcode", "99", "--print-limit", "20", *ours)
        code, text = self.cases(self.out / f"{tool}.log", FEW, before)
        found, ran = summary(text), counted(text)
        clean = re.search(r"SUMMARY: 0 (errors|hazards)", found) is not None
        yield Outcome(tool, clean and code == 0 and ran["OK"] > 0, f"{found}; {told(ran, code)}")

    # greedy tokens -------------------------------------------------------------------------------------------------------

    def greedy(self) -> Iterator[Outcome]:
        layers, devices = layer_count(self.chosen.model), device_count(self.patched / "llama-server")
        one = ["-sm", "none", "-mg", "0"] if devices > 1 else []
        places = {
            "whole model": [*one, "-ngl", "99"],
            "half the layers": [*one, "-ngl", str(layers // 2)],
            "KV on the host": [*one, "-ngl", "99", "--no-kv-offload"],
        }
        if devices > 1:
            places["two devices"] = ["-sm", "layer", "-ngl", "99"]
        plain: Answer | None = None
        with (self.out / "greedy.log").open("a") as log:
            for place, flags in places.items():
                try:
                    stock, ours = self.answers(flags, log)
                except (OSError, RuntimeError, KeyError, ValueError) as error:
                    yield Outcome(f"greedy, {place}", False, str(error))
                    continue
                same, how = judged(stock, ours["exact"], self.chosen.gap)
                plain = plain or stock
                counted_ops = ours["exact"].ops > 0
                yield Outcome(f"greedy, {place}: exact against stock", same and counted_ops, f"{how}; {ours['exact'].told()}")
                if plain is not stock:
                    yield Outcome(f"greedy, {place}: stock against its plain run", *judged(plain, stock, self.chosen.gap))
                    yield Outcome(f"greedy, {place}: exact against the plain run", *judged(plain, ours["exact"], self.chosen.gap))
                how = judged(stock, ours["ranked"], self.chosen.gap)[1]
                yield Outcome(f"greedy, {place}: ranked", ours["ranked"].ops > 0, f"{how}; {ours['ranked'].told()}")

    def answers(self, flags: list[str], log: Any) -> tuple[Answer, dict[str, Answer]]:
        with self.serving(self.stock, flags, log) as server:
            stock = server.answer(self.prompt(server), self.chosen.generate)
        with self.serving(self.patched, [*flags, "--art", "ranked"], log) as server:
            prompt = self.prompt(server)
            modes = {mode: server.answer(prompt, self.chosen.generate, art_mode=mode) for mode in ("exact", "ranked")}
        for name, answer in (("stock", stock), *modes.items()):
            log.write(json.dumps({"flags": flags, "mode": name, "tokens": answer.tokens, "art": answer.art}) + "\n")
        return stock, modes

    def prompt(self, server: Server) -> list[int]:
        """The program's own source: text that is always here."""
        text = "\n".join(file.read_text() for file in sorted((ROOT / "art_local").rglob("*.py")))
        return server.ask("/tokenize", {"content": text[: 16 * self.chosen.prompt], "add_special": True})["tokens"][: self.chosen.prompt]

    @contextmanager
    def serving(self, programs: Path, flags: list[str], log: Any) -> Iterator[Server]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        cells = self.chosen.prompt + self.chosen.generate + 256
        fixed = f"--port {port} -np 1 -fa on -fit off -c {cells} -ctk {self.chosen.kv} -ctv {self.chosen.kv}"
        command = [str(programs / "llama-server"), "-m", str(self.chosen.model), *fixed.split(), *flags]
        log.write(f"$ {' '.join(command)}\n")
        log.flush()
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            server = Server(f"http://127.0.0.1:{port}", self.chosen.limit)
            server.wait(process)
            yield server
        finally:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()

    # the kernels of a 3090 -----------------------------------------------------------------------------------------------

    def ptx86(self) -> Iterator[Outcome]:
        tree, lab = self.patched.parent.parent, self.out / "art-lab"
        if not shutil.which("nvcc") or not (tree / "tests" / "art-lab.cu").exists():
            yield Outcome("ptx86", None, "nvcc or the lab is not here")
            return
        build = ["nvcc", "-std=c++17", "-O3", "-gencode", "arch=compute_86,code=compute_86", "-I", str(tree / "ggml" / "src" / "ggml-cuda")]
        with (self.out / "ptx86.log").open("a") as log:
            for name, command in (
                ("built", [*build, "-o", str(lab), str(tree / "tests" / "art-lab.cu")]),
                ("right", [str(lab), "verify", "--quick", "--smem-limit", "100"]),
                ("timed", [str(lab), "bench", "--quick", "--smem-limit", "100"]),
            ):
                log.write(f"$ {' '.join(command)}\n")
                log.flush()
                start = log.tell()
                code = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, timeout=self.chosen.limit).returncode
                last = (self.out / "ptx86.log").read_bytes()[start:].decode("utf-8", "replace").strip().splitlines()[-1:]
                yield Outcome(f"ptx86, {name}", code == 0, last[0] if last else "")
                if code:
                    return
        lab.unlink()

    # all of it -----------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        for step in self.chosen.steps.split(","):
            outcomes = self.sanitize(step) if step.endswith("check") else getattr(self, step)()
            begin = time.monotonic()
            while True:
                try:
                    outcome = next(outcomes)
                except StopIteration:
                    break
                except Exception as error:  # a step that breaks stops no other
                    outcome = Outcome(step, False, f"{type(error).__name__}: {error}")
                outcome.seconds = time.monotonic() - begin
                begin = time.monotonic()
                self.outcomes.append(outcome)
                (self.out / "summary.md").write_text(self.table())
                print(row(outcome), flush=True)

    def table(self) -> str:
        return "\n".join(["| step | | seconds | |", "|---|---|---|---|", *map(row, self.outcomes)]) + "\n"


def row(outcome: Outcome) -> str:
    verdict = {True: "pass", False: "FAIL", None: "not run"}[outcome.passed]
    return f"| {outcome.step} | {verdict} | {outcome.seconds:.0f} | {outcome.what} |"


def summary(text: str) -> str:
    """The sanitizer's last word."""
    return next((line.strip("= ") for line in reversed(text.splitlines()) if "SUMMARY: " in line), "no summary")


def counted(text: str) -> dict[str, int]:
    """Cases by what became of them."""
    lines = [line for line in text.splitlines() if "ART(" in line]
    return {word: sum(word in line for line in lines) for word in ("OK", "FAIL", "not supported")}


def told(ran: dict[str, int], code: int | None) -> str:
    end = "out of time" if code is None else f"exit status {code}" if code else ""
    return ", ".join([*(f"{count} {name}" for name, count in ran.items() if count), *([end] if end else [])]) or "no cases"


@dataclass
class Answer:
    tokens: list[int]
    likely: list[dict[int, float]]  # at every step: tokens and the logarithms of their probabilities
    art: dict[str, Any]

    @property
    def ops(self) -> int:
        return int(self.art.get("ops") or 0)

    def told(self) -> str:
        share = self.art.get("read_share")
        read = "nothing read" if share is None else f"read share {share:.3f}"
        return f"{self.ops} ops taken, {self.art.get('fallbacks')} on stock kernels, {read}"


@dataclass
class Server:
    address: str
    limit: float

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=self.limit) as answer:
            return json.loads(answer.read())

    def wait(self, process: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + self.limit
        while time.monotonic() < end:
            if process.poll() is not None:
                raise RuntimeError(f"the server ended with status {process.returncode}; greedy.log says why")
            try:
                if self.ask("/health").get("status") == "ok":
                    return
            except OSError:
                pass
            time.sleep(0.2)
        raise RuntimeError("the server did not come up in time")

    def answer(self, prompt: list[int], count: int, **override: Any) -> Answer:
        body = {"prompt": prompt, "n_predict": count, "temperature": 0, "ignore_eos": True, "cache_prompt": False, "n_probs": 5, **override}
        done = self.ask("/completion", {**body, "return_tokens": True})
        likely = [{top["id"]: top["logprob"] for top in step["top_logprobs"]} for step in done["completion_probabilities"]]
        return Answer(done["tokens"], likely, done["timings"].get("art") or {})


def judged(reference: Answer, other: Answer, gap: float) -> tuple[bool, str]:
    count = len(reference.tokens)
    for place, (a, b) in enumerate(zip(reference.tokens, other.tokens, strict=False)):
        if a != b:
            if place >= len(reference.likely):
                return False, f"{place} of {count} tokens the same, then the reference has no probabilities"
            seen = reference.likely[place]
            apart = abs(seen[a] - seen[b]) if a in seen and b in seen else float("inf")
            return apart < gap, f"{place} of {count} tokens the same, then two that the reference saw {apart:.3f} apart"
    if not count or count != len(other.tokens):
        return False, f"{count} tokens against {len(other.tokens)}"
    return True, f"{count} of {count} tokens the same"


def layer_count(model: Path) -> int:
    from art_local.model.locate import load_file

    metadata = load_file(model).metadata
    return int(metadata[f"{metadata['general.architecture']}.block_count"])  # type: ignore[arg-type]


def device_count(server: Path) -> int:
    listed = subprocess.run([str(server), "--list-devices"], capture_output=True, text=True, timeout=120).stdout
    return sum(line.strip().startswith("CUDA") for line in listed.splitlines())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("work", "model", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--steps", default=",".join(STEPS))
    parser.add_argument("--device", default="CUDA0")
    parser.add_argument("--kv", default="q8_0")
    parser.add_argument("--prompt", type=int, default=4096)
    parser.add_argument("--generate", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--limit", type=float, default=240.0, help="seconds that one program may take")
    parser.add_argument("--gap", type=float, default=0.2)
    parser.add_argument("--patched", type=Path)
    parser.add_argument("--stock", type=Path)
    chosen = parser.parse_args()
    if unknown := set(chosen.steps.split(",")) - set(STEPS):
        parser.error(f"no such step: {', '.join(sorted(unknown))}; there are {', '.join(STEPS)}")
    chosen.out.mkdir(parents=True, exist_ok=True)
    proof = Proof(chosen)
    proof.run()
    print()
    print(proof.table(), end="")
    return 1 if any(outcome.passed is False for outcome in proof.outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
