"""Shape files: what a real model's header says (metadata, tensors, types by quantization), without weights.

    {"metadata": {...}, "layers": 80,
     "tensors": {"output.weight": [8192, 128256], ...}, "layer_tensors": {"attn_v.weight": [8192, 1024], ...},
     "quantizations": {"Q4_K_S": {"*": "q4_K", "output.weight": "q6_K", "attn_v.weight": {"q5_K": "0-3,8", "q4_K": "4-7"}}}}

The types by quantization are those that `llama-quantize --dry-run` gives. One-dimensional tensors are f32, as they are in real files.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from art_local.errors import UserError
from art_local.model.header import Header, Tensor
from art_local.model.types import FILE_TYPE_NUMBER, TYPE_BY_NAME

FOLDER = Path(__file__).resolve().parent.parent / "shapes"
MAX_BYTES = 4 << 20


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def find(reference: str) -> Header | None:
    """A shape that comes with the package: name, or name:quantization."""
    name, _, quantization = reference.partition(":")
    if name.lower() not in names():
        return None
    return from_file(FOLDER / f"{name.lower()}.json", quantization or None)


def from_file(path: Path, quantization: str | None) -> Header:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path}: too long for a shape file.")
        shape = json.loads(path.read_text())
        return expand(shape, path.name, quantization)
    except KeyError as error:
        raise UserError(f"{path}: not a shape file: it has no {error}.") from None
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path}: not a shape file: {error}.") from None


def quantizations(path: Path) -> dict[str, Any]:
    known: dict[str, Any] = json.loads(path.read_text())["quantizations"]
    return known


def expand(shape: dict[str, Any], name: str, quantization: str | None) -> Header:
    mixes = {key.upper(): mix for key, mix in shape["quantizations"].items()}
    if quantization and quantization.upper() not in mixes:
        raise UserError(f"{name}: no quantization {quantization}; there are {', '.join(mixes)}.")
    label = quantization.upper() if quantization else ("Q4_K_M" if "Q4_K_M" in mixes else next(iter(mixes)))
    mix, layers = mixes[label], shape["layers"]
    if not isinstance(layers, int) or not 0 < layers <= 4096:
        raise ValueError(f"{layers} layers")
    tensors = [tensor(key, extents, mix.get(key, mix["*"])) for key, extents in shape["tensors"].items()]
    for index in range(layers):
        for key, extents in shape["layer_tensors"].items():
            tensors.append(tensor(f"blk.{index}.{key}", extents, type_in_layer(mix.get(key, mix["*"]), index)))
    metadata = {**shape["metadata"], "general.file_type": FILE_TYPE_NUMBER.get(label, 0)}
    header = Header(metadata, tensors, parts=[f"{name.removesuffix('.json')}:{label}"])
    header.file_bytes = header.weight_bytes
    return header


def tensor(name: str, extents: list[int], type_name: str) -> Tensor:
    kind = TYPE_BY_NAME["f32" if len(extents) == 1 or name.endswith((".bias", "ffn_gate_inp.weight")) else type_name]
    if not extents or not all(isinstance(extent, int) and 0 < extent < 1 << 32 for extent in extents) or extents[0] % kind.block:
        raise ValueError(f"the tensor {name} has the shape {extents} and type {kind.name}")
    return Tensor(name, tuple(extents), kind)


def type_in_layer(rule: str | dict[str, str], index: int) -> str:
    if isinstance(rule, str):
        return rule
    for type_name, runs in rule.items():
        for run in runs.split(","):
            first, _, last = run.partition("-")
            if int(first) <= index <= int(last or first):
                return type_name
    raise ValueError(f"no type for layer {index}")
