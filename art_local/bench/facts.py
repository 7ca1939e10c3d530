"""What does not change while a bench runs, and is written beside every record: model, machine, build."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from art_local import checkout
from art_local.bench.results import Line
from art_local.building import origin
from art_local.building.machine import this_machine
from art_local.building.presets import Preset
from art_local.errors import UserError
from art_local.source.pin import read_pin


@dataclass
class Facts:
    model: dict[str, Any]  # name, sha256, bytes, kv_bytes_per_token by type when known
    machine: dict[str, Any]
    build: dict[str, Any]
    started: str = field(default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds"))
    load: float | None = field(default_factory=lambda: os.getloadavg()[0] if hasattr(os, "getloadavg") else None)

    def as_dict(self) -> dict[str, Any]:
        return {"started": self.started, "load": self.load, "model": self.model, "machine": self.machine, "build": self.build}

    def refuse_other(self, lines: list[Line]) -> None:
        """A file that is gone on with must stay about one thing."""
        for name, own in (
            ("model", self.model.get("sha256")),
            ("machine", machine_name(self.machine)),
            ("build", self.build.get("series")),
        ):
            for line in lines:
                held = line.get("facts", name)
                theirs = held and (machine_name(held) if name == "machine" else held.get("sha256" if name == "model" else "series"))
                if theirs and own and theirs != own:
                    raise UserError(f"The results there are of another {name} ({theirs}, now {own}); name another file by --out.")


def machine_name(machine: dict[str, Any]) -> str:
    found = machine.get("cards")
    cards = ", ".join(str(card.get("name")) for card in found if isinstance(card, dict)) if isinstance(found, list) else ""
    return "; ".join(str(one) for one in (machine.get("processor"), cards) if one) or "unknown machine"


def machine_facts(build: Preset) -> dict[str, Any]:
    """A build for the processor has nothing to do with the cards that are there."""
    found = this_machine().as_dict()
    cards = found["cards"] if build.name.startswith(("cuda", "metal")) else []
    return {**found, "cards": cards, "bandwidth": bandwidth(cards)}


def build_facts(build: Preset) -> dict[str, Any]:
    return {
        "preset": build.name,
        "gpu": build.name.startswith("cuda"),
        "commit": read_pin(checkout.PATCHES).commit,
        "series": (origin.made_from(build) or origin.recorded(build)).get("series"),
    }


def bandwidth(cards: list[dict[str, Any]]) -> float | None:
    """Bytes a second of the card, if the table has it; cards of a pair are read one after the other."""
    from art_local.plan.cards import recognised, with_memory

    card = recognised(str(cards[0]["name"])) if cards else None
    memory = cards[0].get("memory") if cards else None
    return (with_memory(card, memory) if memory else card).bandwidth if card else None


def file_name(model: str, machine: dict[str, Any], now: datetime | None = None) -> str:
    """results/2026-01-31-1830-Qwen3-8B-Q4_K_S-RTX-3090.jsonl"""
    cards = machine.get("cards") or []
    card = str(cards[0].get("name")) if cards else "cpu"
    plain = re.sub(r"\b(NVIDIA|GeForce)\b", "", card)
    stem = re.sub(r"[^A-Za-z0-9._]+", "-", f"{model.removesuffix('.gguf')} {plain}").strip("-")
    return f"{(now or datetime.now()):%Y-%m-%d-%H%M}-{stem}.jsonl"
