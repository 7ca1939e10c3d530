"""Cards that people have: memory, bandwidth, arithmetic, and how well llama.cpp uses them (measured where said, else assumed)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from art_local.building.machine import wired
from art_local.errors import UsageError

GIB = 1 << 30
SYSTEM = 2 * GIB  # of main memory, kept by the system


@dataclass(frozen=True)
class Family:
    """Efficiency of decoding kernels. `basis` is told beside every number that depends on it."""

    name: str
    weights: float  # share of the bandwidth at which weights are read
    layer_us: float  # microseconds a layer that do not depend on any size
    f16_kv: float  # share of the bandwidth of the stock kernel on an f16 cache
    basis: str
    art: bool = True  # whether the series has kernels for it


CONSUMER = Family("GeForce", 0.80, 35, 0.90, "assumed from published llama.cpp results for the 3090, 4090 and 5090")
SERVER = Family("data centre", 0.575, 65, 0.58, "fitted to stock llama.cpp measured on one H200")
APPLE = Family("Apple", 0.62, 80, 0.60, "assumed from published llama.cpp results for M1 to M4", art=False)
PROCESSOR = Family("processor", 0.75, 20, 0.60, "assumed; at most 6.5 GB/s a core, as one of an AMD EPYC reads")


@dataclass(frozen=True)
class Card:
    name: str
    memory: int  # bytes
    bandwidth: float  # bytes per second
    tflops: float  # f32
    family: Family
    reserve: int  # display, driver and runtime context
    unified: bool = False
    cores: int = 0  # of a processor

    @property
    def is_processor(self) -> bool:
        return self.cores > 0

    @property
    def usable(self) -> int:
        return self.memory - self.reserve


def geforce(name: str, gib: float, gbs: float, tflops: float) -> Card:
    # 0.5 GiB for a desktop's display, 0.5 GiB for the CUDA context and its libraries
    return Card(name, int(gib * GIB), gbs * 1e9, tflops, CONSUMER, GIB)


def server(name: str, gib: float, gbs: float, tflops: float) -> Card:
    return Card(name, int(gib * GIB), gbs * 1e9, tflops, SERVER, GIB // 2)


def apple(name: str, gib: int, gbs: float, tflops: float) -> Card:
    return Card(f"{name} {gib}GB", gib * GIB, gbs * 1e9, tflops, APPLE, gib * GIB - wired(gib * GIB), True)


CARDS = [
    geforce("RTX 3060", 12, 360, 12.7), geforce("RTX 3080", 10, 760, 29.8), geforce("RTX 3090", 24, 936, 35.6),
    geforce("RTX 3090 Ti", 24, 1008, 40.0), geforce("RTX 4060 Ti", 16, 288, 22.1), geforce("RTX 4070", 12, 504, 29.1),
    geforce("RTX 4070 Ti SUPER", 16, 672, 44.1), geforce("RTX 4080", 16, 717, 48.7), geforce("RTX 4090", 24, 1008, 82.6),
    geforce("RTX 5070 Ti", 16, 896, 43.9), geforce("RTX 5080", 16, 960, 56.3), geforce("RTX 5090", 32, 1792, 104.8),
    geforce("RTX A6000", 48, 768, 38.7), geforce("RTX 6000 Ada", 48, 960, 91.1), geforce("RTX PRO 6000", 96, 1792, 125.0),
    server("A100 40GB", 40, 1555, 19.5), server("A100 80GB", 80, 2039, 19.5), server("H100", 80, 3350, 67), server("H200", 140.4, 4420, 67),
    apple("M1 Max", 64, 400, 10.4), apple("M2 Ultra", 192, 800, 27.2), apple("M2 Max", 96, 400, 13.6), apple("M3 Max", 128, 400, 14.2),
    apple("M4 Pro", 48, 273, 9.2), apple("M4 Max", 128, 546, 18.4), apple("M4 Max", 64, 546, 18.4), apple("M4 Max", 36, 410, 14.7),
    apple("M3 Ultra", 96, 800, 28.2), apple("M3 Ultra", 256, 800, 28.2), apple("M3 Ultra", 512, 800, 28.2),
]  # fmt: skip


# what makers and drivers add to a name without meaning another card; Ti, SUPER, PCIe, NVL, D or Laptop do mean one
ADDED = re.compile(r"nvidia|geforce|rtx|apple|generation|blackwell|workstation|server|edition|sxm\d*|hbm\d*e?")
SIZE = re.compile(r"\d+gi?b")
JOINED = re.compile(r"(rtx)?(a?\d{4})(ti)?(super)?")  # 3090ti, rtx4090


def words(name: str) -> list[str]:
    found = [JOINED.fullmatch(word) or [word] for word in re.split(r"[\s-]+", name.lower())]
    pieces = [piece for one in found for piece in (one.groups() if isinstance(one, re.Match) else one)]
    return [piece for piece in pieces if piece and not ADDED.fullmatch(piece)]


def recognised(name: str) -> Card | None:
    """The card of just these words, whether a driver reports them or a person types them; of several sizes the named, or the smallest."""
    mine = words(name)
    chip, sizes = [word for word in mine if not SIZE.fullmatch(word)], [word for word in mine if SIZE.fullmatch(word)]
    alike = [card for card in CARDS if chip and [word for word in words(card.name) if not SIZE.fullmatch(word)] == chip]
    if sizes and any(SIZE.search(card.name.lower()) for card in alike):
        alike = [card for card in alike if words(card.name)[-1:] == sizes]
    return min(alike, key=lambda card: card.memory, default=None)


def find(query: str, memory: float | None = None) -> Card:
    """The card that a person names; a part of a name is no name. Memory in GiB overrides the table's."""
    if card := recognised(query):
        return with_gib(card, memory)
    if "," in query or "+" in query:
        raise UsageError(f"--gpu takes one kind of card, not '{query}'; --gpus says how many of it.")
    near = [
        card.name
        for card in CARDS
        if set(query.lower().split()) & set(card.name.lower().split()) or set(words(query)) & set(words(card.name))
    ]
    raise UsageError(
        f"No card '{query}' in the table; {'near it' if near else 'it has'}: {', '.join(near or [card.name for card in CARDS])}."
    )


def with_gib(card: Card, memory: float | None) -> Card:
    if memory is None:
        return card
    if not 1 <= memory <= 4096:
        raise UsageError("--memory takes 1 to 4096 GiB.")
    return with_memory(card, int(memory * GIB))


def with_memory(card: Card, memory: int) -> Card:
    """Apple's chips come with several sizes of memory, which their drivers do not name, and more than one bandwidth."""
    if not card.unified:
        return replace(card, memory=memory)
    chip = card.name.rpartition(" ")[0]
    alike = [one for one in CARDS if one.unified and one.name.rpartition(" ")[0] == chip]
    nearest = min(alike, key=lambda one: abs(one.memory - memory))
    return replace(nearest, name=f"{chip} {memory // GIB}GB", memory=memory, reserve=memory - wired(memory))


def processor(memory: int, bandwidth: float, cores: int = 16) -> Card:
    """No card: main memory, of which the system keeps some; few cores cannot read it at its full speed."""
    return Card("processor", memory, min(bandwidth, cores * 6.5e9 / PROCESSOR.weights), 1.0, PROCESSOR, SYSTEM, True, cores)
