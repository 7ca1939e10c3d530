"""Policies inside a whole model: the library reads the prompt, numpy decodes from its keys and values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from art_local.errors import UserError
from art_local.eval.decoder import LibraryDecoder, Logits, Shares, Watch
from art_local.eval.policies import POLICIES, WINDOW, Reading
from art_local.eval.setting import Setting
from art_local.eval.transformer import Array, Transformer, cells, full, softmax

ROOM = 1024  # tokens that may be decoded after a prompt: what a question and its answer take


@dataclass
class ReferenceDecoder:
    library: LibraryDecoder  # over an f16 cache
    transformer: Transformer
    room: int = ROOM
    prompt: list[int] = field(default_factory=list)
    reading: Reading | None = None
    observed: dict[int, Array] = field(default_factory=dict)
    bounds: dict[int, dict[int, tuple[Array, Array]]] = field(default_factory=dict)

    def tokens(self, text: str, start: bool = True) -> list[int]:
        return self.library.tokens(text, start)

    def text(self, tokens: Sequence[int]) -> str:
        return self.library.text(tokens)

    def chat(self, question: str) -> str:
        return self.library.chat(question)

    def is_end(self, token: int) -> bool:
        return self.library.is_end(token)

    def prefill(self, tokens: Sequence[int], watch: Watch | None = None) -> None:
        if self.prompt == list(tokens):  # its cells are never written to
            return
        self.prompt = []
        self.library.prefill(tokens, watch)
        assert self.library.state is not None
        keys, values = cells(self.library.state, self.transformer.shape)
        self.transformer.fill(keys, values, self.room)
        self.prompt, self.observed, self.bounds = list(tokens), {}, {}

    def start(self, setting: Setting) -> None:
        if setting.policy not in POLICIES:
            raise UserError(f"The numpy reference knows no policy '{setting.policy}'.")
        policy = POLICIES[setting.policy]
        self.transformer.length = len(self.prompt)
        if policy.watches_prompt and not self.observed:
            self.observe()
        budget = 1.0 if setting.budget is None else setting.budget
        self.reading = Reading(policy, budget, len(self.prompt), self.observed, self.bounds)

    def observe(self) -> None:
        """What the last queries of the prompt look at, summed by KV head: they are decoded once more for it."""
        count = len(self.prompt)

        def watching(layer: int, q: Array, keys: Array, values: Array) -> Array:
            looked = softmax(q @ keys.swapaxes(1, 2)).sum(axis=1)
            seen = self.observed.setdefault(layer, np.zeros((q.shape[0], count), dtype=np.float32))
            seen[:, : looked.shape[1]] += looked
            return full(layer, q, keys, values)

        for position in range(max(0, count - WINDOW), count):
            self.transformer.step(self.prompt[position], watching, position)

    def step(self, token: int) -> Logits:
        assert self.reading is not None
        return self.transformer.step(token, self.reading)

    def counters(self) -> Shares:
        assert self.reading is not None
        return Shares(self.reading.read_share, self.reading.byte_share, self.reading.bytes_by_layer)
