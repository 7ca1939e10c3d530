"""Which layer gets which tolerance: the fewest bytes at a target loss, spent on the layers where it buys most."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from art_local.errors import UserError

Eps = tuple[float, ...]
LADDER = (0.0, 0.015, 0.03, 0.05, 0.1, 0.2, 0.4)
ROUNDS = 6
TINY = 1e-9


@dataclass(frozen=True)
class Loss:
    """What a choice of tolerances did on the calibration text."""

    measured: float  # KLD
    bytes_by_layer: tuple[float, ...]  # relative to a full pass of that layer
    rounding: float = 0.0  # of the KLD, what two kernels differ by that both read everything
    error: float = 0.0  # standard error of the mean over the positions

    @property
    def kld(self) -> float:
        return max(0.0, self.measured - self.rounding)

    @property
    def bound(self) -> float:
        """What has to meet the target: the choice that measures best is in part the luckiest, and loses more on other texts."""
        return self.kld + self.error

    @property
    def byte_share(self) -> float:
        return sum(self.bytes_by_layer) / len(self.bytes_by_layer)


Measure = Callable[[Eps], Loss]
Say = Callable[[str], None]


@dataclass
class Search:
    measure: Measure
    layers: int
    target: float
    ladder: Sequence[float] = LADDER
    by_layer: bool = True  # False: the build takes one tolerance for all
    say: Say = lambda text: None
    uniform: dict[float, Loss] = field(default_factory=dict)

    def run(self) -> tuple[Eps, Loss]:
        """The best choice found that meets the target; reading everything if none does."""
        for eps in reversed(self.ladder):  # the loosest first: it tells whether there is anything to tune
            found = self.uniform[eps] = self.measure((eps,) * self.layers)
            self.say(f"eps {eps:g} in all layers: KLD {found.kld:.5f} +- {found.error:.5f}, {found.byte_share:.1%} of the bytes")
            if len(self.uniform) == 1 and found.byte_share >= 1:
                raise UserError(
                    "Mode ranked reads everything at this length, whatever its tolerance; tune at a longer --ctx (on a CPU from 4096 on)."
                )
        best = self.best_uniform()
        if not self.by_layer:
            return best
        alone = self.losses_alone()
        budget, tried = self.target, dict[Eps, Loss]()
        for number in range(ROUNDS):
            chosen = self.spend(alone, budget)
            found = tried[chosen] = tried.get(chosen) or self.measure(chosen)
            exact = sum(eps == 0 for eps in chosen)
            self.say(
                f"round {number + 1}: KLD {found.kld:.5f} +- {found.error:.5f}, {found.byte_share:.1%} of the bytes, {exact} layers exact"
            )
            if found.bound <= self.target and found.byte_share < best[1].byte_share:
                best = chosen, found
            # single losses do not add up exactly: aim again by how far the last aim was off
            budget *= min(4.0, max(0.25, self.target / max(found.bound, TINY)))
        return best

    def best_uniform(self) -> tuple[Eps, Loss]:
        meeting = [eps for eps in self.ladder if self.uniform[eps].bound <= self.target]
        eps = min(meeting, key=lambda eps: self.uniform[eps].byte_share) if meeting else 0.0
        return (eps,) * self.layers, self.uniform[eps]

    def losses_alone(self) -> list[float]:
        """The loss of each layer at the loosest tolerance, all the others exact, as a share in the loss of all at once.

        Losses do not add up, and in each is what rounding makes of the change of a single layer: no more than of the change of all,
        and no more than the smallest of them."""
        found = []
        for layer in range(self.layers):
            one = tuple(self.ladder[-1] if number == layer else 0.0 for number in range(self.layers))
            loss = self.measure(one).measured
            self.say(f"layer {layer} alone at eps {self.ladder[-1]:g}: KLD {loss:.5f}")
            found.append(loss)
        loosest = self.uniform[self.ladder[-1]]
        above = [loss - min(loosest.rounding, *found) for loss in found]
        whole = loosest.kld / max(sum(above), TINY)
        return [loss * whole for loss in above]

    def spend(self, alone: Sequence[float], budget: float) -> Eps:
        """Loosen, step by step, the layer that saves most bytes for its loss; a loss that is not there costs next to nothing."""
        growth = self.growth()
        level, spent = [0] * self.layers, 0.0
        while True:
            moves = []
            for layer, at in enumerate(level):
                for further in range(at + 1, len(self.ladder)):
                    cost = max(TINY, alone[layer] * (growth[further] - growth[at]))
                    gain = self.bytes(layer, at) - self.bytes(layer, further)
                    if gain > 0 and spent + cost <= budget:
                        moves.append((gain / cost, layer, further, cost))
            if not moves:
                return tuple(self.ladder[at] for at in level)
            _, layer, further, cost = max(moves)
            level[layer], spent = further, spent + cost

    def growth(self) -> list[float]:
        """How the loss grows along the ladder, as a share of the last: from all layers at once, and never downwards, since a few
        positions may weigh more at a smaller tolerance by chance."""
        levels: list[tuple[float, int]] = []  # mean and number of the steps that are pooled
        for eps in self.ladder:
            mean, count = self.uniform[eps].kld, 1
            while levels and levels[-1][0] > mean:
                before, number = levels.pop()
                mean, count = (before * number + mean * count) / (number + count), number + count
            levels.append((mean, count))
        rising = [mean for mean, count in levels for _ in range(count)]
        return [one / max(rising[-1], TINY) for one in rising]

    def bytes(self, layer: int, level: int) -> float:
        """An exact layer reads no summaries: it costs 1, whatever the kernel counts at eps 0."""
        return 1.0 if level == 0 else self.uniform[self.ladder[level]].bytes_by_layer[layer]
