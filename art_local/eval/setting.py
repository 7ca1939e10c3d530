"""What is compared: a mode of the kernels with its numbers, or a policy of the numpy reference, and where it ran."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from art_local.art import ArtParams


@dataclass(frozen=True)
class Setting:
    """`evict`: keep only so many oldest and newest cells, dropped from the cache itself before decoding."""

    params: ArtParams = field(default_factory=ArtParams)
    evict: tuple[int, int] | None = None
    layer_eps: tuple[float, ...] = ()  # instead of params.eps, 0: that layer reads everything
    name: str | None = None  # instead of a label made of the numbers
    policy: str | None = None  # of art_local.eval.policies
    budget: float | None = None  # share of the cells that the policy reads
    kv: str | None = None  # the one type of cache that it was made for
    alone: bool = False  # every token over the cache that `exact` wrote: losses do not add up along the text

    @property
    def label(self) -> str:
        return self.words + (", each token alone" if self.alone else "")

    @property
    def words(self) -> str:
        if self.name:
            return self.name
        if self.policy:
            return f"{self.policy} {self.budget:.0%}" if self.budget is not None else self.policy
        shown = {name: value for name, value in self.params.as_dict().items() if name not in ("mode", "patience")}
        words = [self.params.mode, *(f"{name} {value:g}" for name, value in shown.items())]
        return " ".join(words) + (f" after eviction {self.evict[0]}+{self.evict[1]}" if self.evict else "")

    @property
    def where(self) -> str:
        return "numpy reference" if self.policy else "kernel"

    def as_dict(self) -> dict[str, Any]:
        return {
            "label": self.label,
            "where": self.where,
            "params": self.params.as_dict(),
            "evict": list(self.evict) if self.evict else None,
            "layer_eps": list(self.layer_eps),
            "policy": self.policy,
            "budget": self.budget,
            "alone": self.alone,
        }


EXACT = Setting(ArtParams(mode="exact"))
PUBLISHED = ArtParams(mode="stability", tau=1e-7, phi=1e-3, patience=5)  # arXiv 2606.00024


def settings(
    modes: tuple[str, ...],
    eps: tuple[float, ...] = (),
    evict: tuple[int, int] | None = None,
    force: tuple[float, ...] = (),
    alone: bool = False,
) -> list[Setting]:
    """`exact` is what all is compared with: it comes first, and once."""
    chosen = [EXACT]
    for mode in modes:
        if mode == "ranked":
            chosen += [Setting(ArtParams(mode="ranked", eps=one)) for one in eps] or [Setting(ArtParams(mode="ranked"))]
            chosen += [Setting(ArtParams(mode="ranked", force=one)) for one in force]
        elif mode == "stability":
            chosen += [Setting(PUBLISHED)]
        elif mode == "off":
            chosen += [Setting(ArtParams(mode="off"))]
    evicted = [Setting(one.params, evict) for one in chosen] if evict else []
    return chosen + evicted + ([replace(one, alone=True) for one in chosen[1:]] if alone else [])
