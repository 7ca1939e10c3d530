#!/usr/bin/env python3
"""Measure the two builds of scripts/gpu/build.sh against each other, on a machine that has no network and no packages installed.

    python measure.py PACKED_FOLDER WORK_FOLDER MODEL.gguf OUT.jsonl [--depths 0,8192] [--kv q8_0,q4_0] [--modes exact,ranked]
                      [--rounds 5] [--generate 48] [--force 0.2] [--batches 1] [-- ARGUMENTS OF LLAMA-BENCH]

It is art_local's own bench (interleaved processes, medians, the same results file), over the package of PACKED_FOLDER, and prints
the ratios to stock, which is the other build, last. MODEL is a real one or that of shape_model.py; with random weights let ranked read
a share of its own choosing: --force. A batch of more than one runs llama-batched-bench; its prompt may be one for all:

    python measure.py PACKED WORK MODEL.gguf OUT.jsonl --batches 8 --depths 16384 --kv q8_0 --force 0.2 -- -pps
"""

from __future__ import annotations

import argparse
import json
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from art_local.bench.configuration import Plan
    from art_local.bench.summary import Row


def unpack(packed: Path, work: Path) -> Path:
    """A checkout in miniature, in which the builds lie where the package expects its presets."""
    root = work / "art-local"
    with tarfile.open(packed / "package.tgz") as tar:
        tar.extractall(work, filter="data")
    build = root / "build"
    build.mkdir(exist_ok=True)
    for preset, tree in (("cuda", "tree"), ("cuda-stock", "tree-stock")):
        link = build / preset
        if not link.is_symlink():
            link.symlink_to((work / tree / "build").resolve(), target_is_directory=True)
    series = json.loads((packed / "series.json").read_text())
    (build / "tree.json").write_text(json.dumps({"series": series["series"], "commit": series["tree"]}))
    return root


def arguments() -> tuple[argparse.Namespace, tuple[str, ...]]:
    """Ours, and after -- those of llama-bench."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("packed", "work", "model", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--depths", default="0,8192,32768,131072")
    parser.add_argument("--kv", default="q8_0,q4_0")
    parser.add_argument("--modes", default="exact,ranked")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--reps", type=int, default=1, help="repetitions in one process, for a model that takes long to load")
    parser.add_argument("--generate", type=int, default=48)
    parser.add_argument("--force", type=float)
    parser.add_argument("--batches", default="1")
    split = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    return parser.parse_args(sys.argv[1:split]), tuple(sys.argv[split + 1 :])


def planned(chosen: argparse.Namespace, extra: tuple[str, ...]) -> Plan:
    from art_local.bench.configuration import KV_TYPES, MODES, Plan, choices, numbers

    return Plan(
        depths=numbers(chosen.depths, "--depths"),
        modes=choices(chosen.modes, MODES, "--modes"),
        kvs=choices(chosen.kv, KV_TYPES, "--kv"),
        batches=numbers(chosen.batches, "--batches", 1),
        rounds=chosen.rounds,
        generate=chosen.generate,
        reps=chosen.reps,
        force=chosen.force,
        extra=extra,
    )


def show(rows: list[Row]) -> None:
    stock = {(row.key.kv, row.key.depth, row.key.batch): row.median for row in rows if row.key.mode == "off"}
    print(f"{'mode':<10} {'kv':<5} {'depth':>7} {'batch':>5} {'tokens/s':>9} {'ratio':>6} {'read':>5} {'bytes':>6}")
    for row in rows:
        base = stock.get((row.key.kv, row.key.depth, row.key.batch))
        speed = f"{row.median:9.2f}" if row.median else f"{row.failure or '-':>9}"
        ratio = f"{row.median / base:6.2f}" if row.median and base else "     -"
        shares = [f"{share:5.1%}" if share is not None else "    -" for share in (row.read_share, row.byte_share)]
        print(f"{row.key.mode:<10} {row.key.kv:<5} {row.key.depth:>7} {row.key.batch:>5} {speed} {ratio} {' '.join(shares)}")
        if row.sentence:
            print(f"           {row.sentence}")


def main() -> int:
    """0 when something was measured, 1 when nothing was, 2 when wrongly asked, 130 when interrupted."""
    chosen, extra = arguments()
    try:
        sys.path.insert(0, str(unpack(chosen.packed.resolve(), chosen.work.resolve())))
    except (OSError, ValueError, tarfile.TarError) as error:
        print(f"error: {chosen.packed} is no folder of pack.py: {error}", file=sys.stderr)
        return 1

    from art_local.bench.session import measure
    from art_local.errors import UsageError, UserError

    try:
        done = measure(chosen.model, planned(chosen, extra), chosen.out, preset="cuda", resume=chosen.out.exists())
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    show(done.rows)
    if done.interrupted:
        return 130
    return 0 if any(row.samples for row in done.rows) else 1


if __name__ == "__main__":
    sys.exit(main())
