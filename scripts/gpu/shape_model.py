#!/usr/bin/env python3
"""Write a GGUF of a real model's shape with random weights: speed depends on the shape, read share and quality do not come from it.

    python shape_model.py SHAPE OUT.gguf       SHAPE: a name in art_local/shapes, such as llama-3.1-8b

The body is Q4_K, the output Q6_K. Layers share their random bytes and all cores write, so that a 70B (40 GB) takes as long as the disk
does; in memory (/dev/shm) that is seconds.
"""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

SCALES = {"q4_K": (slice(0, 4), (0.0008, 0.0008)), "q6_K": (slice(208, 210), (0.00002,))}  # where in a block, and how small
PIECE = 64 << 20  # bytes that a thread writes at once


class Weights:
    """Random blocks with small scales, made once per size."""

    def __init__(self) -> None:
        import numpy

        self.np = numpy
        self.random = numpy.random.default_rng(0)
        self.made: dict[tuple[str, int], memoryview] = {}

    def of(self, kind: str, size: int) -> memoryview:
        if (kind, size) not in self.made:
            self.made[kind, size] = memoryview(self.make(kind, size)).cast("B")
        return self.made[kind, size]

    def make(self, kind: str, size: int) -> Any:
        np = self.np
        if kind == "f32":
            return np.ones(size // 4, np.float32)
        block = {"q4_K": 144, "q6_K": 210}[kind]
        where, scales = SCALES[kind]
        blocks = self.random.integers(0, 256, size=(size // block, block), dtype=np.uint8)
        blocks[:, where] = np.array(scales, np.float16).view(np.uint8)
        return blocks.reshape(-1)


def write(shape: dict[str, Any], out: Path) -> None:
    from art_local.model.header import padded
    from art_local.model.hollow import NUMBER, gguf, info
    from art_local.model.shape import expand

    mix = {"*": "q4_K", "output.weight": "q6_K"}
    header = expand({**shape, "quantizations": {"Q4_K_S": mix}}, out.name, "Q4_K_S")
    infos, places, offset = [], [], 0
    for tensor in header.tensors:
        infos.append(info(tensor.name, tensor.shape, NUMBER[tensor.type.name], offset))
        places.append((tensor, offset))
        offset += padded(tensor.bytes, 32)
    head = gguf(header.metadata, infos)
    data, weights = padded(len(head), 32), Weights()
    with out.open("wb") as file, ThreadPoolExecutor(os.cpu_count()) as threads:
        file.write(head)
        file.truncate(data + offset)
        file.flush()

        def put(raw: memoryview, at: int) -> None:
            while raw:
                done = os.pwrite(file.fileno(), raw[:PIECE], at)
                raw, at = raw[done:], at + done

        waiting = []
        for tensor, place in places:
            raw = weights.of(tensor.type.name, tensor.bytes)
            waiting += [threads.submit(put, raw[i : i + PIECE], data + place + i) for i in range(0, len(raw), PIECE)]
        for one in waiting:
            one.result()


def main() -> int:
    from art_local.model import shape

    if len(sys.argv) != 3 or sys.argv[1] not in shape.names():
        wanted = sys.argv[1:] in (["--help"], ["-h"])
        print(f"{__doc__}\nshapes: {', '.join(shape.names())}", file=sys.stdout if wanted else sys.stderr)
        return 0 if wanted else 2
    try:
        write(json.loads((shape.FOLDER / f"{sys.argv[1]}.json").read_text()), Path(sys.argv[2]))
    except OSError as error:
        Path(sys.argv[2]).unlink(missing_ok=True)
        print(f"error: {sys.argv[2]} cannot be written: {error.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
