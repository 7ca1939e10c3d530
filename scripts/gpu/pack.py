#!/usr/bin/env python3
"""Pack the patched tree and its stock twin for a GPU machine that has no network.

    python scripts/gpu/pack.py OUTPUT_FOLDER

Writes tree.tgz and tree-stock.tgz (about 9 MB each), the package itself as package.tgz, and series.json, which says what the
trees are. On the machine: scripts/gpu/build.sh FOLDER WORK builds both, scripts/gpu/measure.py measures them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

# What no program that is measured needs. Anchored at the tree's root: src/models and tools/mtmd/models must stay.
LEFT_OUT = (
    "models docs media benches examples tools/ui/src .git .github ggml/src/ggml-vulkan ggml/src/ggml-sycl ggml/src/ggml-opencl "
    "ggml/src/ggml-hexagon ggml/src/ggml-cann ggml/src/ggml-webgpu ggml/src/ggml-openvino"
).split()


def pack(tree: Path, archive: Path) -> None:
    left_out = {tree / name for name in LEFT_OUT}

    def keep(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        relative = Path(*Path(member.name).parts[1:])
        return None if tree / relative in left_out else member

    with tarfile.open(archive, "w:gz", compresslevel=6) as tar:
        tar.add(tree, tree.name, filter=keep)


def main() -> int:
    from art_local.errors import UserError
    from art_local.source.trees import Checkout

    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        wanted = sys.argv[1:] in (["--help"], ["-h"])
        print(__doc__, file=sys.stdout if wanted else sys.stderr)
        return 0 if wanted else 2
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    checkout = Checkout(ROOT)
    try:
        pack(checkout.apply(), target / "tree.tgz")
        pack(checkout.plain(), target / "tree-stock.tgz")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    with tarfile.open(target / "package.tgz", "w:gz") as tar:
        for name in ("art_local", "scripts/gpu", "patches/pin.json", "CMakePresets.json"):
            tar.add(ROOT / name, f"art-local/{name}", filter=lambda member: None if "__pycache__" in member.name else member)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    tree = (checkout.recorded() or {})["commit"]
    facts = {"series": checkout.series().fingerprint, "base": checkout.pin.commit, "tree": tree, "commit": commit}
    (target / "series.json").write_text(json.dumps(facts))
    for file in sorted(target.iterdir()):
        print(f"{file.stat().st_size / 2**20:7.1f} MiB  {file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
