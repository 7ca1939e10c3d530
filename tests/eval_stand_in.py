"""A model small enough for the tests: random weights, peaked attention, characters for tokens; a decoder around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from art_local.eval.decoder import Shares
from art_local.eval.metrics import log_softmax
from art_local.eval.policies import POLICIES, Reading
from art_local.eval.setting import Setting
from art_local.eval.transformer import Array, Shape, Transformer, full

SHAPE = Shape(layers=2, heads=4, kv_heads=2, size=16, epsilon=1e-5, rope_base=10000.0, rope_pairs="halves")
VOCABULARY, WIDTH, HIDDEN = 128, 64, 64


def tiny(seed: int = 0) -> Transformer:
    random = np.random.default_rng(seed)

    def matrix(rows: int, columns: int, gain: float = 1.0) -> Array:
        return (gain * random.standard_normal((rows, columns)) / np.sqrt(columns)).astype(np.float32)

    weights = {"token_embd.weight": matrix(VOCABULARY, WIDTH, 8.0), "output_norm.weight": np.ones(WIDTH, dtype=np.float32)}
    for layer in range(SHAPE.layers):
        name = f"blk.{layer}."
        weights |= {name + norm: np.ones(WIDTH, dtype=np.float32) for norm in ("attn_norm.weight", "ffn_norm.weight")}
        weights[name + "attn_q.weight"] = matrix(SHAPE.heads * SHAPE.size, WIDTH, 2.5)
        weights[name + "attn_k.weight"] = matrix(SHAPE.kv_heads * SHAPE.size, WIDTH)
        weights[name + "attn_v.weight"] = matrix(SHAPE.kv_heads * SHAPE.size, WIDTH)
        weights[name + "attn_output.weight"] = matrix(WIDTH, SHAPE.heads * SHAPE.size, 2.0)
        weights[name + "ffn_gate.weight"], weights[name + "ffn_up.weight"] = matrix(HIDDEN, WIDTH), matrix(HIDDEN, WIDTH)
        weights[name + "ffn_down.weight"] = matrix(WIDTH, HIDDEN)
    weights["output.weight"] = matrix(VOCABULARY, WIDTH, 2.0)
    return Transformer(SHAPE, weights)


def spoken(count: int, seed: int) -> str:
    """What the model itself says: the one text that it predicts well, so that a loss shows in its perplexity."""
    model, random = tiny(), np.random.default_rng(seed)
    model.fill(np.zeros((SHAPE.layers, SHAPE.kv_heads, 0, SHAPE.size), dtype=np.float32), None, count)
    said = [int(random.integers(VOCABULARY))]
    while len(said) < count:
        said.append(int(random.choice(VOCABULARY, p=np.exp(log_softmax(model.step(said[-1], full))))))
    return "".join(map(chr, said))


class StandIn:
    """Settings name a policy in `policy`; without one everything is read. Counts what it was asked to do."""

    def __init__(self, after_prefill: Callable[[int], None] = lambda number: None) -> None:
        self.model = tiny()
        self.prompt: list[int] = []
        self.reading: Reading | None = None
        self.prefills = 0
        self.after_prefill = after_prefill

    def tokens(self, text: str, start: bool = True) -> list[int]:
        return [ord(character) % VOCABULARY for character in text]

    def text(self, tokens: Sequence[int]) -> str:
        return "".join(chr(token) for token in tokens)

    def chat(self, question: str) -> str:
        return f"<{question}>"

    def is_end(self, token: int) -> bool:
        return False

    def prefill(self, tokens: Sequence[int], watch: object = None) -> None:
        self.model.fill(np.zeros((SHAPE.layers, SHAPE.kv_heads, 0, SHAPE.size), dtype=np.float32), None, len(tokens) + 600)
        for token in tokens:
            self.model.step(token, full)
        self.prompt = list(tokens)
        self.prefills += 1
        self.after_prefill(self.prefills)

    def start(self, setting: Setting) -> None:
        self.model.length = len(self.prompt)
        self.put(setting)

    def put(self, setting: Setting) -> None:
        policy = POLICIES[setting.policy or "numpy exact"]
        self.reading = Reading(policy, 1.0 if setting.budget is None else setting.budget, len(self.prompt))

    def keep(self) -> list[int]:
        return self.prompt

    def back(self, kept: list[int]) -> None:
        self.prefill(kept)

    def step(self, token: int) -> Array:
        assert self.reading
        return self.model.step(token, self.reading)

    def take_back(self) -> None:
        self.model.length -= 1

    def counters(self) -> Shares:
        assert self.reading
        by_head = [[float(np.mean(layer))] * SHAPE.kv_heads for layer in self.reading.kept]
        return Shares(self.reading.read_share, self.reading.byte_share, self.reading.bytes_by_layer, by_head)
