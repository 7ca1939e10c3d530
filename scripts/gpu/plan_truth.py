#!/usr/bin/env python3
"""Hold 'art-local plan' against the truth: memory as our build allocates it, speed as a bench measured it.

    python plan_truth.py memory MODEL ... [--ctx 4k,32k,128k] [--kv f16,q8_0,q4_0] [--preset cuda] [--gpus 2] [--ram GIB] [--fill]
    python plan_truth.py speed RESULTS.jsonl --model MODEL [--gpu H200] [--gpus 2]

MODEL is a file, or the name of a shape such as llama-3.3-70b:Q4_K_S: then a file without data is made for the time of the check.
Memory loads the model in llama-batched-bench with mode ranked at every context and KV type (--fill reads a whole prompt, so that
the scratch of prefill is there, too). Speed calibrates on each depth in turn and predicts the others.
On a machine without a network, --unpack PACKED WORK first unpacks what scripts/gpu/build.sh has built there.
Prints tables; --json FILE keeps the rows. Exit code 1 when memory is more than 3 % off, or speed more than 15 %.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    checks = parser.add_subparsers(dest="check", required=True)
    memory, speed = checks.add_parser("memory"), checks.add_parser("speed")
    memory.add_argument("models", nargs="+")
    memory.add_argument("--ctx", default="4k,32k,128k")
    memory.add_argument("--kv", default="f16,q8_0,q4_0")
    memory.add_argument("--preset")
    memory.add_argument("--fill", action="store_true")
    memory.add_argument("--ram", type=int, metavar="GIB", help="plan for a processor with so much: a mapped file need not fit into it")
    speed.add_argument("results", type=Path)
    speed.add_argument("--model", required=True)
    speed.add_argument("--gpu", help="the card of the results; without it, this machine's")
    for check in (memory, speed):
        check.add_argument("--gpus", type=int, default=1)
        check.add_argument("--json", type=Path)
        check.add_argument("--unpack", type=Path, nargs=2, metavar=("PACKED", "WORK"))
    chosen = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    if chosen.unpack:
        sys.path.insert(0, str(Path(__file__).parent))
        from measure import unpack  # type: ignore[import-not-found]

        sys.path.insert(0, str(unpack(*(path.resolve() for path in chosen.unpack))))
    from art_local.errors import UserError

    rows = []
    try:
        for row in memory_check(chosen) if chosen.check == "memory" else speed_check(chosen):
            show(row, first=not rows)
            rows.append(row)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        if chosen.json:
            chosen.json.write_text("".join(json.dumps(row) + "\n" for row in rows))
    judged = [row for row in rows if row.get("part", "all of these") == "all of these" and row["error"] is not None]
    if not judged:
        print("error: nothing could be compared.", file=sys.stderr)
        return 1
    worst, limit = max(judged, key=lambda row: abs(row["error"])), 0.03 if chosen.check == "memory" else 0.15
    off = sum(abs(row["error"]) > limit for row in judged)
    print(f"{len(judged)} compared, {off} more than {limit:.0%} off; the worst is {worst['error']:+.1%}")
    return 1 if off else 0


def memory_check(chosen: argparse.Namespace) -> Iterator[dict]:
    from art_local.bench.configuration import numbers
    from art_local.building import presets
    from art_local.model.hollow import write_sparse
    from art_local.model.locate import load
    from art_local.plan.machine import this_machines
    from art_local.plan.memory import Setting
    from art_local.plan.truth import memory_rows

    build = presets.built(chosen.preset)
    card, _ = this_machines(gpu=build.name.startswith(("cuda", "metal")))
    card = replace(card, memory=chosen.ram << 30) if chosen.ram and card.is_processor else card
    settings = [Setting(context, kv, ranked=True) for context in numbers(chosen.ctx, "--ctx", 256) for kv in chosen.kv.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen.models:
            path, header = Path(name), load(name)
            if not path.exists():
                path = Path(folder) / f"{name.replace(':', '-')}.gguf"
                write_sparse(path, header)
            for row in memory_rows(header, path, build.program("llama-batched-bench"), card, chosen.gpus, settings, chosen.fill):
                yield {"model": name if not Path(name).exists() else path.name, "card": card.name, **row}


def speed_check(chosen: argparse.Namespace) -> Iterator[dict]:
    from art_local.bench.results import read
    from art_local.model.locate import load
    from art_local.plan.cards import find
    from art_local.plan.machine import this_machines
    from art_local.plan.measured import Machine
    from art_local.plan.memory import Setting, describe
    from art_local.plan.placement import place
    from art_local.plan.truth import speed_rows

    card, host = this_machines()
    card = find(chosen.gpu) if chosen.gpu else card
    model = describe(load(chosen.model))
    placement = place(model, card, chosen.gpus, Setting(4096))
    planned, lines = Machine(model, card, chosen.gpus, host, placement), read(chosen.results)
    if reasons := {reason for line in lines if (reason := planned.misfit(line))}:
        print(f"left out: {'; '.join(sorted(reasons))}", file=sys.stderr)
    yield from speed_rows(lines, planned)


def show(row: dict, first: bool) -> None:
    texts = {name: text(name, value) for name, value in row.items() if name not in ("card", "seconds")}
    if first:
        print("  ".join(f"{name:>{width(name)}}" for name in texts))
    print("  ".join(f"{value:>{width(name)}}" for name, value in texts.items()), flush=True)


def width(name: str) -> int:
    return {"model": 30, "part": 13, "calibrated at": 13}.get(name, 9)


def text(name: str, value: object) -> str:
    if name == "error":
        return f"{value:+.1%}" if value is not None else "-"
    return f"{value:.1f}" if isinstance(value, float) else str(value)[-30:]


if __name__ == "__main__":
    sys.exit(main())
