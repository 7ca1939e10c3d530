#!/usr/bin/env python3
"""CPU time of a decoded token by mode, one thread: comparable on a machine that others use, where time on the clock is not.

scripts/decode_cpu_time.py MODEL TEXT [--preset cpu] [--kv q8_0] [--depths 7168,4096,0]

One prefill; the tail is dropped for the shorter depths. Rounds are interleaved by mode. JSON lines on the standard output, the first
of which says what was measured where; a stock build has mode off alone.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from art_local import art
from art_local.bench.configuration import numbers
from art_local.bench.facts import Facts, build_facts, machine_facts
from art_local.bench.model import resolve
from art_local.bench.results import join
from art_local.building.presets import Preset
from art_local.errors import UsageError, UserError
from art_local.library import Session, load

TOKENS, ROUNDS = 24, 4


def header(chosen: argparse.Namespace, preset: Preset) -> str:
    """As a bench writes it beside its records."""
    facts = Facts(resolve(chosen.model).facts(lambda text: None), machine_facts(preset), build_facts(preset))
    command = ["scripts/decode_cpu_time.py", *(Path(word).name if Path(word).exists() else word for word in sys.argv[1:])]
    return join(None, {"kind": "cpu time", "command": command, "threads": 1, "tokens": TOKENS, "rounds": ROUNDS, "facts": facts.as_dict()})


def decode(session: Session, tokens: list[int], depth: int) -> list[float]:
    """Milliseconds a token, the first two left out: they rebuild the graph."""
    session.forget(depth)
    spent = []
    for token in tokens[depth : depth + TOKENS]:
        start = time.process_time()
        session.decode([token])
        spent.append(1e3 * (time.process_time() - start))
    return spent[2:]


def measure(session: Session, tokens: list[int], depth: int, modes: list[str]) -> dict[str, dict[str, float]]:
    spent: dict[str, list[float]] = {mode: [] for mode in modes}
    shares: dict[str, float] = {}
    for _ in range(ROUNDS):
        for mode in modes:
            if art.available(session.llama):
                art.apply(session.llama, session.context, art.ArtParams(mode=mode))
                art.reset_counters(session.llama, session.context)
            spent[mode] += decode(session, tokens, depth)
            if mode == "ranked" and (counted := art.counters(session.llama, session.context)):
                shares = {"read_share": counted.read_share, "byte_share": counted.byte_share}
    found = {mode: {"cpu_ms": round(sorted(all_)[len(all_) // 2], 3)} for mode, all_ in spent.items()}
    if "ranked" in found:
        found["ranked"] |= shares
    return found


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("--preset", default="cpu")
    parser.add_argument("--kv", default="q8_0")
    parser.add_argument("--depths", default="7168,4096,3072,2048,1024,512,0")
    return parser.parse_args()


def run(chosen: argparse.Namespace) -> None:
    depths = sorted(numbers(chosen.depths, "--depths"), reverse=True)
    preset = Preset(chosen.preset)
    modes = ["off"] if preset.is_stock else ["off", "exact", "ranked"]
    with Session(load(preset), chosen.model, depths[0] + 64, kv=chosen.kv, threads=1) as session:
        tokens = session.tokens(chosen.text.read_text(encoding="utf-8"))[: depths[0] + TOKENS]
        if len(tokens) < depths[0] + TOKENS:
            raise UserError(f"{chosen.text} has {len(tokens)} tokens, {depths[0] + TOKENS} are needed.")
        print(header(chosen, preset), flush=True)
        session.decode(tokens[: depths[0]])
        for depth in depths:
            for mode, row in measure(session, tokens, depth, modes).items():
                print(json.dumps({"preset": preset.name, "kv": chosen.kv, "depth": depth, "mode": mode, **row}), flush=True)


def main() -> int:
    try:
        run(arguments())
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
