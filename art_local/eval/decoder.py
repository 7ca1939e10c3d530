"""What the evaluation decodes with: one exact prefill, then any number of decodings from there, token by token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from art_local import art
from art_local.eval.prefills import Prefills
from art_local.eval.setting import EXACT, Setting
from art_local.library import Session

Logits = NDArray[np.float32]
Watch = Callable[[int, int], None]  # tokens done, tokens in all


class Reads(Protocol):
    """What was read, relative to a full pass."""

    @property
    def read_share(self) -> float: ...
    @property
    def byte_share(self) -> float: ...
    @property
    def fallbacks(self) -> int: ...
    @property
    def bytes_by_layer(self) -> list[float]: ...
    @property
    def by_head(self) -> list[list[float]]: ...


@dataclass(frozen=True)
class Shares:
    read_share: float
    byte_share: float
    bytes_by_layer: list[float] = field(default_factory=list)
    by_head: list[list[float]] = field(default_factory=list)
    fallbacks: int = 0

    @classmethod
    def of(cls, reads: Reads, left: float) -> Shares:
        """Relative to the whole cache, when only a share of it was left to read."""
        by_head = [[left * head for head in layer] for layer in reads.by_head]
        return cls(left * reads.read_share, left * reads.byte_share, [left * one for one in reads.bytes_by_layer], by_head, reads.fallbacks)


class Decoder(Protocol):
    def tokens(self, text: str, start: bool = True) -> list[int]: ...
    def text(self, tokens: Sequence[int]) -> str: ...
    def chat(self, question: str) -> str: ...
    def is_end(self, token: int) -> bool: ...

    def prefill(self, tokens: Sequence[int], watch: Watch | None = None) -> None:
        """Forget all, read these tokens exactly, and remember the state."""

    def start(self, setting: Setting) -> None:
        """Back to the state after the prefill; what follows is decoded under this setting, counted from zero."""

    def step(self, token: int) -> Logits:
        """One token through the decode kernels: never a batch, since prompt-sized batches do not run them."""

    def counters(self) -> Reads | None: ...


@runtime_checkable
class RetracingDecoder(Decoder, Protocol):
    def put(self, setting: Setting) -> None:
        """Another setting over the cache as it is, counted from zero."""

    def take_back(self) -> None:
        """Forget the token that was decoded last."""


class KeepingDecoder(Decoder, Protocol):
    def keep(self) -> Any:
        """The state after the prefill, to come back to once another prompt was read."""

    def back(self, kept: Any) -> None: ...


@dataclass
class LibraryDecoder:
    session: Session
    prefills: Prefills | None = None
    state: NDArray[np.uint8] | None = None
    prompt: list[int] = field(default_factory=list, init=False)  # that the state is of
    cut: int = field(default=0, init=False)  # cells that were evicted since the prefill
    steps: int = field(default=0, init=False)  # tokens decoded since then

    @property
    def length(self) -> int:
        return len(self.prompt)

    def tokens(self, text: str, start: bool = True) -> list[int]:
        return self.session.tokens(text, start)

    def text(self, tokens: Sequence[int]) -> str:
        return self.session.text(tokens)

    def chat(self, question: str) -> str:
        return self.session.chat(question)

    def is_end(self, token: int) -> bool:
        return self.session.is_end(token)

    def prefill(self, tokens: Sequence[int], watch: Watch | None = None) -> None:
        if self.state is not None and self.prompt == list(tokens):
            return
        self.state, self.prompt, self.cut = None, list(tokens), 0
        if self.prefills and (kept := self.prefills.find(tokens)) is not None:
            self.session.restore(kept)
            self.state = kept
            return
        self.read(tokens, watch)
        self.state = self.session.save()
        if self.prefills:
            self.prefills.keep(tokens, self.state)

    def read(self, tokens: Sequence[int], watch: Watch | None) -> None:
        session = self.session
        session.clear()
        self.put(EXACT)  # the last, short batch may run the decode kernels
        for done in range(0, len(tokens), session.n_batch):
            session.decode(tokens[done : done + session.n_batch])
            if watch:
                watch(min(done + session.n_batch, len(tokens)), len(tokens))

    def start(self, setting: Setting) -> None:
        assert self.state is not None, "start comes after prefill"
        self.steps = 0
        # forgetting what was decoded since leaves the cells of the prefill as they are: cheaper than bringing them back
        if self.cut or not self.session.forget(self.length):
            self.session.restore(self.state)
            self.cut = 0
        if setting.evict:
            self.evict(*setting.evict)
        self.put(setting)

    def evict(self, sink: int, window: int) -> None:
        """What StreamingLLM keeps, by the cache's own operation; positions stay as they were."""
        if sink + window < self.length:
            self.session.forget(sink, self.length - window)
            self.cut = self.length - window - sink

    def put(self, setting: Setting) -> None:
        llama, context = self.session.llama, self.session.context
        art.apply(llama, context, setting.params)
        art.apply_layer_eps(llama, context, setting.layer_eps)
        art.reset_counters(llama, context)

    def step(self, token: int) -> Logits:
        self.steps += 1
        return self.session.decode([token])

    def take_back(self) -> None:
        self.steps -= 1
        self.session.forget(self.length + self.steps)

    def counters(self) -> Reads | None:
        counted = art.counters(self.session.llama, self.session.context)
        # the kernels count what the cache holds; after an eviction that is less than there was
        return Shares.of(counted, 1 - self.cut / self.length) if counted and self.cut else counted

    def keep(self) -> Any:
        return self.state, self.prompt

    def back(self, kept: Any) -> None:
        self.state, self.prompt = kept
        self.session.restore(self.state)
        self.cut = 0
