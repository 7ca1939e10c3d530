#!/usr/bin/env python3
"""Write a GGUF of a real model's shape with random weights: speed depends on the shape, read share and quality do not come from it.

    python shape_model.py SHAPE OUT.gguf       SHAPE: a name in art_local/shapes, such as llama-3.1-8b

The body is Q4_K, the output Q6_K. Layers share their random bytes on the way in, so a 70B takes seconds of arithmetic.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import gguf
import numpy as np

SHAPES = Path(__file__).resolve().parent.parent.parent / "art_local" / "shapes"
BLOCK = {"Q4_K": (144, slice(0, 4), np.float16([0.0008, 0.0008])), "Q6_K": (210, slice(208, 210), np.float16([0.00002]))}


class Weights:
    """Random blocks with small scales, made once per size."""

    def __init__(self) -> None:
        self.random = np.random.default_rng(0)
        self.made: dict[tuple[str, int, int], np.ndarray] = {}

    def matrix(self, kind: str, columns: int, rows: int) -> np.ndarray:
        if (kind, columns, rows) not in self.made:
            size, where, scales = BLOCK[kind]
            blocks = self.random.integers(0, 256, size=(rows, columns // 256, size), dtype=np.uint8)
            blocks[..., where] = scales.view(np.uint8)
            self.made[kind, columns, rows] = blocks.reshape(rows, -1)
        return self.made[kind, columns, rows]


def write(shape: dict, out: Path) -> None:
    metadata = shape["metadata"]
    writer = gguf.GGUFWriter(out, metadata["general.architecture"])
    for key, value in metadata.items():
        if key == "general.architecture":
            continue
        add = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}.get(type(value))
        if add is None:
            raise SystemExit(f"error: {key} is a list; this writes plain transformers only.")
        add(key, value)
    weights = Weights()
    tensors = dict(shape["tensors"])
    for layer in range(shape["layers"]):
        tensors |= {f"blk.{layer}.{name}": size for name, size in shape["layer_tensors"].items()}
    for name, size in tensors.items():
        if len(size) == 1:
            writer.add_tensor(name, np.ones(size, np.float32))
        else:
            kind = "Q6_K" if name == "output.weight" else "Q4_K"
            writer.add_tensor(name, weights.matrix(kind, *size), raw_dtype=gguf.GGMLQuantizationType[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> int:
    if len(sys.argv) != 3 or not (SHAPES / f"{sys.argv[1]}.json").exists():
        known = ", ".join(sorted(file.stem for file in SHAPES.glob("*.json")))
        print(f"{__doc__}\nshapes: {known}", file=sys.stderr)
        return 2
    write(json.loads((SHAPES / f"{sys.argv[1]}.json").read_text()), Path(sys.argv[2]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
