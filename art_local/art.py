"""Early termination through the library's C API (llama-art.h): settings of a context, and what its kernels read.

import llama_cpp
from llama_cpp import Llama
from art_local import art

model = Llama("model.gguf", n_ctx=32768, flash_attn=True)      # over our library: LLAMA_CPP_LIB_PATH=build/cpu/bin
art.apply(llama_cpp.llama_cpp, model.ctx, art.ArtParams(mode="ranked"))
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from art_local.errors import UserError

LAYER_EPS = "llama_set_art_layer_eps"  # not in every build
MODES = ("off", "exact", "stability", "ranked")  # enum ggml_art_mode


class Struct(ctypes.Structure):
    """struct llama_art_params, member by member."""

    _fields_ = (
        ("mode", ctypes.c_int32),
        ("eps", ctypes.c_float),
        ("tau", ctypes.c_float),
        ("phi", ctypes.c_float),
        ("patience", ctypes.c_int32),
        ("sink", ctypes.c_int32),
        ("window", ctypes.c_int32),
        ("dense_layers", ctypes.c_int32),
        ("min_ctx", ctypes.c_int32),
        ("force", ctypes.c_float),
    )


class CountersStruct(ctypes.Structure):
    """struct llama_art_counters, member by member."""

    _fields_ = tuple(
        (name, ctypes.c_int64)
        for name in ("tiles_read", "tiles_total", "keys_only", "records_read", "bytes_read", "bytes_total", "ops", "fallbacks")
    )


COUNTED = tuple(field[0] for field in CountersStruct._fields_)


@dataclass(frozen=True)
class ArtParams:
    """None: the library's own default."""

    mode: str = "off"
    eps: float | None = None  # ranked: tolerance of the stop rule, 0 reads everything
    tau: float | None = None  # stability: tolerance on the output's magnitude
    phi: float | None = None  # stability: tolerance on the output's direction
    patience: int | None = None
    sink: int | None = None  # cells
    window: int | None = None  # cells
    dense_layers: int | None = None
    min_ctx: int | None = None
    force: float | None = None  # for tests: the share of ranked tiles to read, whatever the stop rule says

    def as_dict(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}


def available(llama: ModuleType) -> bool:
    return hasattr(library(llama), "llama_set_art")


def library(llama: ModuleType) -> ctypes.CDLL:
    """The library under the binding, with the signatures that it cannot know."""
    lib: ctypes.CDLL = llama._lib
    if hasattr(lib, "llama_set_art") and lib.llama_art_default_params.restype is not Struct:
        lib.llama_art_default_params.restype = Struct
        lib.llama_set_art.argtypes = [ctypes.c_void_p, ctypes.POINTER(Struct)]
        lib.llama_set_art.restype = ctypes.c_int32
        lib.llama_get_art.argtypes = [ctypes.c_void_p, ctypes.POINTER(Struct)]
        lib.llama_get_art.restype = None
        lib.llama_art_modes.argtypes = [ctypes.c_void_p]
        lib.llama_art_modes.restype = ctypes.c_uint32
        lib.llama_art_last_error.restype = ctypes.c_char_p
        lib.llama_art_n_layer.argtypes = [ctypes.c_void_p]
        lib.llama_art_n_head.argtypes = [ctypes.c_void_p, ctypes.c_int32]
        lib.llama_art_get_counters.argtypes = [ctypes.c_void_p, ctypes.c_int32, ctypes.c_int32, ctypes.POINTER(CountersStruct)]
        lib.llama_art_reset_counters.argtypes = [ctypes.c_void_p]
        lib.llama_art_reset_counters.restype = None
        lib.llama_art_reason_name.argtypes = [ctypes.c_int32]
        lib.llama_art_reason_name.restype = ctypes.c_char_p
        lib.llama_art_get_ops.argtypes = [ctypes.c_void_p, ctypes.c_int32, ctypes.c_int32]
        lib.llama_art_get_ops.restype = ctypes.c_int64
        lib.llama_art_memory_size.argtypes = [ctypes.c_void_p]
        lib.llama_art_memory_size.restype = ctypes.c_uint64
        lib.llama_art_verify_summaries.argtypes = [ctypes.c_void_p]
        lib.llama_art_verify_summaries.restype = ctypes.c_int64
        if hasattr(lib, LAYER_EPS):
            getattr(lib, LAYER_EPS).argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_float), ctypes.c_int32]
    return lib


def apply(llama: ModuleType, context: Any, params: ArtParams) -> None:
    """Holds from the next decoding on; refused in the library's own words."""
    lib = required(llama)
    if params.mode not in MODES:
        raise UserError(f"There is no mode '{params.mode}'; choose one of {', '.join(MODES)}.")
    struct = lib.llama_art_default_params()
    for name, value in params.as_dict().items():
        setattr(struct, name, MODES.index(value) if name == "mode" else value)
    if lib.llama_set_art(context, ctypes.byref(struct)):
        raise UserError(f"The library refuses mode '{params.mode}': {lib.llama_art_last_error().decode()}.")


def modes(llama: ModuleType, context: Any) -> tuple[str, ...]:
    """The modes that this context can run on its devices."""
    mask = required(llama).llama_art_modes(context)
    return tuple(mode for number, mode in enumerate(MODES) if mask >> number & 1)


def required(llama: ModuleType) -> ctypes.CDLL:
    if not available(llama):
        raise UserError("This build of llama.cpp knows nothing of early termination; run 'art-local build'.")
    return library(llama)


def layers(llama: ModuleType, context: Any) -> int:
    return int(required(llama).llama_art_n_layer(context))


def has_layer_eps(llama: ModuleType) -> bool:
    return hasattr(library(llama), LAYER_EPS)


def apply_layer_eps(llama: ModuleType, context: Any, eps: Sequence[float]) -> None:
    """A tolerance for each layer instead of the one for all, 0: that layer reads everything. Nothing: back to the one."""
    lib = required(llama)
    if not hasattr(lib, LAYER_EPS):
        if eps:
            raise UserError("This build takes one tolerance for all layers only; run 'art-local build'.")
        return
    if getattr(lib, LAYER_EPS)(context, (ctypes.c_float * len(eps))(*eps), len(eps)):
        raise UserError(f"The library refuses the tolerances by layer: {lib.llama_art_last_error().decode()}.")


def counters(llama: ModuleType, context: Any) -> Counters | None:
    """What was read since the last reset; None if no layer is covered."""
    lib = required(llama)
    heads = [lib.llama_art_n_head(context, layer) for layer in range(lib.llama_art_n_layer(context))]
    if not any(heads):
        return None
    counts = np.zeros((len(heads), max(heads), len(COUNTED)), dtype=np.int64)
    struct = CountersStruct()
    for layer, count in enumerate(heads):
        for head in range(count):
            if lib.llama_art_get_counters(context, layer, head, ctypes.byref(struct)) == 0:
                counts[layer, head] = [getattr(struct, name) for name in COUNTED]
    return Counters(counts)


def reset_counters(llama: ModuleType, context: Any) -> None:
    required(llama).llama_art_reset_counters(context)


def fallbacks(llama: ModuleType, context: Any) -> dict[str, int]:
    """Attention ops that ran on the kernels of mode off although another mode was set, by reason."""
    lib = required(llama)
    by_reason = {
        lib.llama_art_reason_name(number).decode(): lib.llama_art_get_ops(context, -1, number)
        for number in range(1, lib.llama_art_n_reasons())
    }
    return {reason: count for reason, count in by_reason.items() if count}


@dataclass(frozen=True)
class Counters:
    """What the kernels read, by layer and KV head: counted by themselves."""

    counts: NDArray[np.int64]  # [layers, KV heads, COUNTED]

    def total(self, name: str) -> int:
        return int(self.counts[..., COUNTED.index(name)].sum())

    @property
    def read_share(self) -> float:
        """Tiles read / tiles that a full pass would read."""
        return share(self.total("tiles_read"), self.total("tiles_total"))

    @property
    def byte_share(self) -> float:
        """The same in bytes, with the summaries that were read: the figure that speed follows."""
        return share(self.total("bytes_read"), self.total("bytes_total"))

    @property
    def fallbacks(self) -> int:
        """Attention ops that ran on the stock kernels although a mode was set."""
        return self.total("fallbacks")

    @property
    def bytes_by_layer(self) -> list[float]:
        read, total = (self.counts[..., COUNTED.index(name)].sum(axis=1).tolist() for name in ("bytes_read", "bytes_total"))
        return [share(part, whole) for part, whole in zip(read, total, strict=True)]

    @property
    def by_head(self) -> list[list[float]]:
        return [[share(head[0], head[1]) for head in layer] for layer in self.counts.tolist()]

    def __add__(self, other: Counters) -> Counters:
        return Counters(self.counts + other.counts)


def share(part: float, whole: float) -> float:
    """Nothing counted is not nothing read: the stock kernels read all, and count nothing."""
    return float(part / whole) if whole else 1.0
