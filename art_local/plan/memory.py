"""Memory by part, by llama.cpp's own rules (llama-kv-cache*.cpp, load_tensors); the compute buffer by a rule fitted to its allocator."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from art_local.errors import UserError
from art_local.model.attention import Attention, Keys, Layer, attention
from art_local.model.header import Header, padded

TILE = 8  # tokens a tile
CELLS = 256  # contexts are rounded up to this
BLOCK = re.compile(r"^blk\.(\d+)\.")


def record_bytes(head_size: int) -> int:
    """Summary of one tile and KV head: a 4-bit mean with an f16 scale for 64 channels, three contrasts of one bit and a size of
    one byte, an f16 spread; in whole 16 bytes."""
    return padded(head_size * 7 // 8 + -(-head_size // 64) * 2 + 3 + 2, 16)


def frame_bytes(head_size: int) -> int:
    """Offset and size of every channel of a KV head, f16, in whole records."""
    return padded(4 * head_size, record_bytes(head_size))


@dataclass
class Model:
    """What placement and speed need to know of a model, taken from its header once."""

    header: Header
    attention: Attention
    layer_bytes: list[int]
    input_bytes: int
    output_bytes: int
    expert_bytes: int
    expert_share: float  # of the layers' bytes, how much a token reads
    embedding: int
    feed_forward: int
    vocabulary: int
    context: int
    twice: int = 0  # embeddings that are loaded again as the output layer
    layers: list[Layer] = field(default_factory=list)

    @property
    def skipping(self) -> list[Layer]:
        """Those that early termination applies to."""
        return [layer for layer in self.layers if layer.art and layer.kv_heads]

    @property
    def why_not(self) -> str:
        """Where it applies to none."""
        return next((layer.reason for layer in self.layers if layer.reason), "no layer attends") if not self.skipping else ""


def describe(header: Header) -> Model:
    """Refuses with a sentence what has no numbers."""
    keys, found = Keys(header), attention(header)
    if found.unknown:
        raise UserError(f"{keys.name}: no prediction, because {found.unknown}.")
    if not header.tensors:
        raise UserError(f"{keys.name}: no prediction, because it has no tensors.")
    blocks = keys.number("block_count", most=4096)
    layer_bytes, rest, experts, embedded = [0] * blocks, 0, 0, 0
    for tensor in header.tensors:
        match = BLOCK.match(tensor.name)
        if match and int(match[1]) < blocks:
            layer_bytes[int(match[1])] += tensor.bytes
            experts += tensor.bytes if "_exps." in tensor.name else 0
        elif tensor.name.startswith(("token_embd", "per_layer_token_embd")):
            embedded += tensor.bytes
        else:
            rest += tensor.bytes
    table = next((t for t in header.tensors if t.name == "token_embd.weight" and len(t.shape) == 2), None)
    if table is None:
        raise UserError(f"{keys.name}: no prediction, because it has no token embeddings.")
    twice = 0 if any(tensor.name == "output.weight" for tensor in header.tensors) else table.bytes
    used = keys.number("expert_used_count", 0) / max(keys.number("expert_count", 0), 1) if experts else 1.0
    repeating = max(sum(layer_bytes), 1)
    return Model(
        header, found, layer_bytes, embedded, rest + twice, experts, 1 - experts / repeating * (1 - used),
        keys.number("embedding_length"), feed_forward(keys, blocks), table.shape[1], keys.number("context_length", 0, 1 << 30), twice,
        found.layers,
    )  # fmt: skip


def feed_forward(keys: Keys, blocks: int) -> int:
    """Channels that are alive at once in the widest feed-forward block."""
    dense = max(keys.per_layer("feed_forward_length", blocks, [0] * blocks))
    expert = max(keys.per_layer("expert_feed_forward_length", blocks, [0] * blocks))
    return max(dense, expert * keys.number("expert_used_count", 0))


@dataclass(frozen=True)
class Setting:
    context: int
    kv_type: str = "q8_0"
    ubatch: int = 512
    ranked: bool = False
    parallel: int = 1

    def cells(self, layer: Layer) -> int:
        context = padded(self.context, CELLS)
        return min(context, padded(min(context, layer.window * self.parallel + self.ubatch), CELLS)) if layer.window else context


def kv_bytes(layer: Layer, setting: Setting) -> int:
    return layer.bytes_per_cell(setting.kv_type, setting.kv_type) * setting.cells(layer)


def summary_bytes(layer: Layer, setting: Setting) -> int:
    if not setting.ranked or not layer.art:
        return 0
    records = record_bytes(layer.k_size) * -(-setting.cells(layer) // TILE)
    return (records + frame_bytes(layer.k_size) * setting.parallel) * layer.kv_heads


def compute_bytes(model: Model, setting: Setting, copies: int = 1) -> int:
    """The larger of two moments: logits of a whole micro-batch, and a layer's activations together with the masks.

    Checked against llama-fit-params for eight models, four contexts and three KV types; `copies` of the masks are kept
    when several cards work as a pipeline.
    """
    tokens = min(setting.ubatch, padded(setting.context, CELLS))
    windows = {layer.window for layer in model.layers if layer.kv_heads}
    masks = sum(2 * tokens * setting.cells(Layer(0, "", window=window)) for window in windows)
    residual = 2 + (setting.kv_type != "f16")  # the rotation of a quantized cache keeps one more
    logits = 4 * tokens * (model.vocabulary + residual * model.embedding)
    layer = 4 * tokens * (3 * model.feed_forward + 4 * model.embedding)
    return max(logits, layer + masks) + (copies - 1) * masks


def scratch_bytes(model: Model, setting: Setting, cuda: bool) -> int:
    """Prefill on a quantized cache: the CUDA kernels turn one layer's K and V into f16 beside the compute buffer."""
    if not cuda or setting.kv_type == "f16":
        return 0
    return max((2 * layer.kv_heads * (layer.k_size + layer.v_size) * setting.cells(layer) for layer in model.layers), default=0)
