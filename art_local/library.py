"""Our libllama under llama-cpp-python: bound to a build of this checkout, checked to be of the same commit."""

from __future__ import annotations

import ctypes
import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType, TracebackType

import numpy as np
from numpy.typing import NDArray

from art_local.building.machine import usable_cores
from art_local.building.presets import Preset
from art_local.errors import UserError
from art_local.source.pin import read_pin
from art_local.source.trees import Checkout

KV_TYPES = {"f16": 1, "q4_0": 2, "q8_0": 8}


def load(preset: Preset) -> ModuleType:
    """The binding's llama_cpp module over the library of `preset`. One process can hold one library."""
    chosen = str(preset.programs)
    if "llama_cpp" in sys.modules and os.environ.get("LLAMA_CPP_LIB_PATH") != chosen:
        raise UserError("Another llama library is loaded in this process already; use a new process for another build.")
    if not preset.is_built:
        raise UserError(f"Preset '{preset.name}' is not built yet; run 'art-local build --preset {preset.name}'.")
    check_binding()
    os.environ["LLAMA_CPP_LIB_PATH"] = chosen
    try:
        module = importlib.import_module("llama_cpp.llama_cpp")
    except (RuntimeError, FileNotFoundError, AttributeError) as error:
        raise UserError(f"The library in {chosen} cannot be loaded: {error}") from None
    check_commit(preset)
    messages.attach(module)
    module.llama_backend_init()
    return module


def check_binding() -> None:
    pin = read_pin()
    try:
        installed = version(pin.binding_name)
    except PackageNotFoundError:
        raise UserError(
            f"The Python binding is not installed; run 'python scripts/bootstrap.py env', which installs {pin.binding}."
        ) from None
    if installed != pin.binding_version:
        raise UserError(f"The binding is {pin.binding_name} {installed}, but the pinned llama.cpp goes with {pin.binding}; install that.")


def check_commit(preset: Preset) -> None:
    """The library says which commit it was built from; it must be the tree that the patches give now, or the pin."""
    file = next(preset.programs.glob("libggml-base.[sd]*"), None)
    if file is None:
        raise UserError(f"Preset '{preset.name}' is not fully built; run 'art-local build --preset {preset.name}'.")
    base = ctypes.CDLL(str(file))
    base.ggml_commit.restype = ctypes.c_char_p
    built = base.ggml_commit().decode().removesuffix("-dirty")
    checkout = Checkout(preset.root)
    recorded = checkout.recorded()
    expected = checkout.pin.commit if preset.is_stock else (recorded or {}).get("commit", "")
    if not built or not expected.startswith(built):
        raise UserError(f"The build '{preset.name}' is of commit {built}, the source is at {expected[:12]}; run 'art-local build' again.")


class Messages:
    """What the library logs, kept so that an error can be told in its words, and off the terminal."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.callback: object = None

    def attach(self, module: ModuleType) -> None:
        def keep(level: int, text: bytes, user_data: object) -> None:
            if level in (3, 4):  # warnings and errors
                self.lines.append(text.decode("utf-8", "replace").strip())
                del self.lines[:-50]

        self.callback = module.llama_log_callback(keep)
        module.llama_log_set(self.callback, None)

    def reason(self) -> str:
        """The most telling of the last lines: the library wraps the cause in outer failures."""
        for line in self.lines:
            if "error loading model: " in line:
                return line.partition("error loading model: ")[2]
        return self.lines[-1] if self.lines else "the library gave no reason"


messages = Messages()


@dataclass
class Session:
    """A model with one context, for decoding token by token: what the tests and the evaluation need, no more."""

    llama: ModuleType
    path: Path
    n_ctx: int
    kv: str = "f16"
    n_batch: int = 512
    gpu_layers: int = 0
    threads: int = field(default_factory=usable_cores)
    flash_attention: bool = True

    def __enter__(self) -> Session:
        llama = self.llama
        if not self.path.is_file():
            raise UserError(f"There is no model file {self.path}.")
        messages.lines.clear()
        model_parameters = llama.llama_model_default_params()
        model_parameters.n_gpu_layers = self.gpu_layers
        self.model = llama.llama_model_load_from_file(str(self.path).encode(), model_parameters)
        if not self.model:
            raise UserError(f"{self.path} cannot be loaded: {messages.reason()}")
        parameters = llama.llama_context_default_params()
        parameters.n_ctx, parameters.n_batch, parameters.n_ubatch = self.n_ctx, self.n_batch, self.n_batch
        parameters.n_threads = parameters.n_threads_batch = self.threads
        parameters.flash_attn_type = int(self.flash_attention)
        parameters.type_k = parameters.type_v = KV_TYPES[self.kv]
        self.context = llama.llama_init_from_model(self.model, parameters)
        if not self.context:
            llama.llama_model_free(self.model)
            raise UserError(f"No context of {self.n_ctx} tokens for {self.path.name}: {messages.reason()}")
        self.vocabulary = llama.llama_model_get_vocab(self.model)
        self.n_vocabulary: int = llama.llama_vocab_n_tokens(self.vocabulary)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.llama.llama_free(self.context)
        self.llama.llama_model_free(self.model)

    def tokens(self, text: str, start: bool = True) -> list[int]:
        """`start`: with what the model wants at the start of a text."""
        raw = text.encode()
        room = len(raw) + 16
        buffer = (self.llama.llama_token * room)()
        count = self.llama.llama_tokenize(self.vocabulary, raw, len(raw), buffer, room, start, True)
        return list(buffer[:count])

    def text(self, tokens: Sequence[int]) -> str:
        room = 64 * len(tokens) + 64
        buffer = ctypes.create_string_buffer(room)
        array = (self.llama.llama_token * len(tokens))(*tokens)
        count = self.llama.llama_detokenize(self.vocabulary, array, len(tokens), buffer, room, False, False)
        return buffer.raw[: max(count, 0)].decode("utf-8", "replace")

    def is_end(self, token: int) -> bool:
        return bool(self.llama.llama_vocab_is_eog(self.vocabulary, token))

    def chat(self, question: str) -> str:
        """The question as the model's own chat template puts it, up to where the answer begins; as it is without a template."""
        llama = self.llama
        template = llama.llama_model_chat_template(self.model, None)
        if not template:
            return question
        raw = question.encode()
        message = (llama.llama_chat_message * 1)(llama.llama_chat_message(b"user", raw))
        room = 2 * len(raw) + 4096
        buffer = ctypes.create_string_buffer(room)
        count = llama.llama_chat_apply_template(template, message, 1, True, buffer, room)
        return buffer.raw[:count].decode() if 0 < count <= room else question

    @property
    def trained_context(self) -> int:
        return int(self.llama.llama_model_n_ctx_train(self.model))

    def clear(self) -> None:
        self.llama.llama_memory_clear(self.llama.llama_get_memory(self.context), True)

    def forget(self, start: int, end: int = -1) -> bool:
        """Drop positions from `start` up to `end` (-1: all that follow); False where the model's memory cannot do it."""
        return bool(self.llama.llama_memory_seq_rm(self.llama.llama_get_memory(self.context), 0, start, end))

    def can_forget(self) -> bool:
        """Whether a token can be taken back, tried on two that are forgotten again."""
        self.decode([0, 0])
        forgot = self.forget(1)
        self.clear()
        return forgot

    def save(self) -> NDArray[np.uint8]:
        """All that was decoded so far, as `restore` takes it."""
        size = self.llama.llama_state_seq_get_size(self.context, 0)
        state = np.empty(size, dtype=np.uint8)
        pointer = state.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
        written = self.llama.llama_state_seq_get_data(self.context, pointer, size, 0)
        if written == 0 or written > size:
            raise UserError(f"The state could not be saved: {messages.reason()}")
        return state[:written]

    def restore(self, state: NDArray[np.uint8]) -> None:
        self.clear()
        pointer = state.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
        if not self.llama.llama_state_seq_set_data(self.context, pointer, state.size, 0):
            raise UserError(f"The state could not be restored: {messages.reason()}")

    def decode(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Append tokens to the context; the logits after the last one."""
        for start in range(0, len(tokens), self.n_batch):
            part = tokens[start : start + self.n_batch]
            array = (self.llama.llama_token * len(part))(*part)
            if code := self.llama.llama_decode(self.context, self.llama.llama_batch_get_one(array, len(part))):
                raise UserError(f"The library could not decode (code {code}): {messages.reason()}")
        logits = self.llama.llama_get_logits_ith(self.context, -1)
        return np.array(np.ctypeslib.as_array(logits, shape=(self.n_vocabulary,)), dtype=np.float32)
