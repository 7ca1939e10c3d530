"""The card and the main memory of the machine at hand, as a plan counts them."""

from __future__ import annotations

from dataclasses import replace

from art_local.building.machine import this_machine
from art_local.errors import UserError
from art_local.plan.cards import GIB, Card, processor, recognised, with_memory

RAM = 64 * GIB  # of a machine that is only named


def this_machines(bandwidth: float = 80e9, gpu: bool = True) -> tuple[Card, Card]:
    """The first card that the table knows, with the memory it really has, and the processor; without a card, the processor twice."""
    machine = this_machine()
    host = processor(machine.memory or RAM, bandwidth, machine.cores)
    for found in machine.cards if gpu else ():
        if card := recognised(found.name):
            return sized(card, found.memory, machine.memory), host
    if gpu and machine.cards:
        raise UserError(f"The card '{machine.cards[0].name}' is not in the table; name a similar one by --gpu, with --memory.")
    return host, host


def sized(card: Card, memory: int | None, ram: int | None) -> Card:
    """A card shares main memory where it has none of its own: what is reported then is the part that it may use."""
    if not memory:
        return card
    if not card.unified or not ram:
        return with_memory(card, memory)
    return replace(with_memory(card, ram), reserve=max(0, ram - memory))
