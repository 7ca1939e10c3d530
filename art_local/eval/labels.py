"""Where names stand beside the dots of a picture: near their own, on nobody else's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

LETTER, LINE, DOT = 6.0, 12.0, 7.0
FAR = 20  # lines above or below, beyond which a name stands where it may


@dataclass(frozen=True)
class Box:
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        return self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom


@dataclass
class Labels:
    left: float  # of the room there is
    right: float
    taken: list[Box] = field(default_factory=list)

    def keep_free(self, dots: Iterable[tuple[float, float]]) -> None:
        self.taken += [Box(x - DOT, y - DOT, x + DOT, y + DOT) for x, y in dots]

    def place(self, x: float, y: float, words: str) -> Box:
        """The nearest free place: to the right of the dot, to its left, then further and further above and below."""
        places = list(self.places(x, y, LETTER * len(words)))
        free = [
            box for box in places if self.left <= box.left and box.right <= self.right and not any(box.meets(one) for one in self.taken)
        ]
        found = (free or places)[0]
        self.taken.append(found)
        return found

    def places(self, x: float, y: float, width: float) -> Iterator[Box]:
        for away in range(FAR):
            for middle in (y + away * LINE, y - away * LINE) if away else (y,):
                for start in (x + DOT + 2, x - DOT - 2 - width):
                    yield Box(start, middle - LINE / 2, start + width, middle + LINE / 2)
