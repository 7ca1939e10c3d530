"""Quantities as text: bytes as people read them, numbers as other programs write them."""

from __future__ import annotations


def size(count: int | None) -> str:
    if count is None:
        return "memory unknown"
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def number_in(text: str) -> float | None:
    """None where something else is written, such as [N/A]."""
    try:
        return float(text)
    except ValueError:
        return None
