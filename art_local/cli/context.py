"""--ctx, as people type it: 32768, or 32k."""

from __future__ import annotations

from collections.abc import Callable


def tokens(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        from art_local.bench.configuration import whole

        return whole(str(text), "--ctx", least)

    return parse
