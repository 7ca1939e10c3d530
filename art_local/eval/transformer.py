"""A decoder of the llama and qwen2 families in numpy: one token at a time, over keys and values that the library computed.

Slow and plain: it is where policies that no kernel implements can be tried inside a whole model.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from art_local.errors import UserError

Array = NDArray[np.float32]
# layer, queries [KV heads, group, size] (scaled), keys and values [KV heads, cells, size] -> output [KV heads, group, size]
Attend = Callable[[int, Array, Array, Array], Array]
FAMILIES = {"llama": "interleaved", "qwen2": "halves", "qwen3": "halves"}  # how RoPE pairs the channels


@dataclass(frozen=True)
class Shape:
    layers: int
    heads: int
    kv_heads: int
    size: int  # of a head
    epsilon: float
    rope_base: float
    rope_pairs: str


@dataclass
class Transformer:
    shape: Shape
    weights: dict[str, Array]
    keys: Array = field(init=False)  # [layers, KV heads, cells, size]
    values: Array = field(init=False)
    length: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.fill(np.zeros((self.shape.layers, self.shape.kv_heads, 0, self.shape.size), dtype=np.float32), None, 0)

    def fill(self, keys: Array, values: Array | None, room: int) -> None:
        """Start from these cells, with room for more."""
        values = keys if values is None else values
        space = np.zeros((*keys.shape[:2], room, keys.shape[3]), dtype=np.float32)
        self.keys, self.values = np.concatenate([keys, space], axis=2), np.concatenate([values, space], axis=2)
        self.length = keys.shape[2]

    def step(self, token: int, attend: Attend, position: int | None = None) -> Array:
        """The logits after a token. With a position below the length the cell is there already, and is not written."""
        shape, w = self.shape, self.weights
        at = self.length if position is None else position
        turn = self.turn(at)
        x = w["token_embd.weight"][token]
        for layer in range(shape.layers):
            name = f"blk.{layer}."
            h = self.norm(x, name + "attn_norm.weight")
            q = turn(self.project(h, name, "attn_q", shape.heads)) / np.sqrt(shape.size, dtype=np.float32)
            if at == self.length:
                # the cache keeps f16
                self.keys[layer, :, at] = turn(self.project(h, name, "attn_k", shape.kv_heads)).astype(np.float16)
                self.values[layer, :, at] = self.project(h, name, "attn_v", shape.kv_heads).astype(np.float16)
            groups = q.reshape(shape.kv_heads, -1, shape.size)
            out = attend(layer, groups, self.keys[layer, :, : at + 1], self.values[layer, :, : at + 1])
            x = x + w[name + "attn_output.weight"] @ out.reshape(-1)
            h = self.norm(x, name + "ffn_norm.weight")
            gate = w[name + "ffn_gate.weight"] @ h
            x = x + w[name + "ffn_down.weight"] @ (gate / (1 + np.exp(-gate)) * (w[name + "ffn_up.weight"] @ h))
        self.length = max(self.length, at + 1)
        head = w.get("output.weight", w["token_embd.weight"])
        return np.asarray(head @ self.norm(x, "output_norm.weight"), dtype=np.float32)

    def project(self, h: Array, name: str, which: str, heads: int) -> Array:
        out = self.weights[f"{name}{which}.weight"] @ h
        if (bias := self.weights.get(f"{name}{which}.bias")) is not None:
            out = out + bias
        out = out.reshape(heads, self.shape.size)
        own = self.weights.get(f"{name}{which}_norm.weight")
        return out if own is None else self.scaled(out) * own

    def norm(self, x: Array, name: str) -> Array:
        return self.scaled(x) * self.weights[name]

    def scaled(self, x: Array) -> Array:
        return np.asarray(x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + self.shape.epsilon), dtype=np.float32)

    def turn(self, position: int) -> Callable[[Array], Array]:
        """RoPE at a position."""
        half = self.shape.size // 2
        angle = position / self.shape.rope_base ** (np.arange(half) / half)
        if (factors := self.weights.get("rope_freqs.weight")) is not None:
            angle = angle / factors
        cos, sin = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
        first, second = (
            (slice(None, half), slice(half, None)) if self.shape.rope_pairs == "halves" else (slice(0, None, 2), slice(1, None, 2))
        )

        def turned(x: Array) -> Array:
            out = np.empty_like(x)
            a, b = x[..., first], x[..., second]
            out[..., first], out[..., second] = a * cos - b * sin, b * cos + a * sin
            return out

        return turned


def full(layer: int, q: Array, keys: Array, values: Array) -> Array:
    return softmax(q @ keys.swapaxes(1, 2)) @ values


def softmax(scores: Array) -> Array:
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), dtype=np.float32)


def read(path: Path) -> Transformer:
    """Weights as floats: four bytes each, whatever the file stores."""
    from gguf import GGUFReader
    from gguf.quants import dequantize

    reader = GGUFReader(path)

    def value(key: str, default: float | None = None) -> float:
        entry = reader.fields.get(key)
        return default if entry is None and default is not None else entry.contents()

    family = str(reader.fields["general.architecture"].contents())
    if family not in FAMILIES:
        raise UserError(f"The numpy reference knows {', '.join(FAMILIES)}, not '{family}': leave out --policies for this model.")
    heads = int(value(f"{family}.attention.head_count"))
    shape = Shape(
        layers=int(value(f"{family}.block_count")),
        heads=heads,
        kv_heads=int(value(f"{family}.attention.head_count_kv", heads)),
        size=int(value(f"{family}.attention.key_length", value(f"{family}.embedding_length") // heads)),
        epsilon=value(f"{family}.attention.layer_norm_rms_epsilon"),
        rope_base=value(f"{family}.rope.freq_base", 10000.0),
        rope_pairs=FAMILIES[family],
    )
    return Transformer(shape, {tensor.name: dequantize(tensor.data, tensor.tensor_type).astype(np.float32) for tensor in reader.tensors})


def cells(state: NDArray[np.uint8], shape: Shape) -> tuple[Array, Array]:
    """Keys and values out of a saved state of the library (one sequence, f16, plain attention), as [layers, KV heads, cells, size]."""
    reader = Reader(state.tobytes())
    reader.skip(8)  # magic, sequence
    streams, count = reader.take("II")
    if streams != 1:
        raise UserError("The saved state is of several streams; the numpy reference reads one.")
    for _ in range(count):
        _, sequences = reader.take("iI")
        reader.skip(4 * sequences)
    transposed, layers = reader.take("II")
    if transposed or layers != shape.layers:
        raise UserError("The saved state is not of the form that the numpy reference reads (plain attention, values not transposed).")
    keys, values = (np.stack([reader.layer(count, shape) for _ in range(layers)]) for _ in range(2))
    return keys, values


@dataclass
class Reader:
    data: bytes
    at: int = 0

    def take(self, form: str) -> tuple[int, ...]:
        found = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return found

    def skip(self, count: int) -> None:
        self.at += count

    def layer(self, count: int, shape: Shape) -> Array:
        kind, row = self.take("iQ")
        if kind != 1 or row != 2 * shape.kv_heads * shape.size:
            raise UserError("The saved state is not f16; the numpy reference reads f16 only.")
        flat = np.frombuffer(self.data, dtype=np.float16, count=count * row // 2, offset=self.at)
        self.at += count * row
        return np.ascontiguousarray(flat.reshape(count, shape.kv_heads, shape.size).transpose(1, 0, 2)).astype(np.float32)
