"""Names of the files of a model in parts: name-00001-of-00003.gguf."""

from __future__ import annotations

import re

SPLIT = re.compile(r"^(?P<stem>.*)-\d{5}-of-(?P<count>\d{5})\.gguf$")
MOST = 999


def part_names(name: str) -> list[str]:
    """All parts, from the name of any of them; the name alone if it is none's."""
    match = SPLIT.match(name)
    if not match or not 1 <= int(match["count"]) <= MOST:
        return [name]
    return [f"{match['stem']}-{number:05}-of-{match['count']}.gguf" for number in range(1, int(match["count"]) + 1)]
