"""How far one decoding is from another: per position first, then figures with their uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
from numpy.typing import NDArray

from art_local.errors import UserError

Floats = NDArray[np.float64]
RESAMPLES = 1000


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass
class Comparison:
    """One decoding against another along the same tokens; a row for each position."""

    kld: list[float] = field(default_factory=list)
    nll: list[float] = field(default_factory=list)  # of the token that follows in the text, in nats
    nll_exact: list[float] = field(default_factory=list)
    same_top: list[bool] = field(default_factory=list)

    def add(self, exact: NDArray[np.float32], other: NDArray[np.float32], following: int) -> None:
        # not a number is neither large nor small: a broken kernel would pass for a perfect one
        if not (np.isfinite(exact).all() and np.isfinite(other).all()):
            raise UserError("The decoding gave logits that are no numbers: the kernels of this build, or the model, are broken.")
        p, q = log_softmax(exact), log_softmax(other)
        # a sum of differences may come out a hair below zero
        self.kld.append(max(0.0, float(np.dot(np.exp(p), p - q))))
        self.nll.append(-float(q[following]))
        self.nll_exact.append(-float(p[following]))
        self.same_top.append(bool(np.argmax(p) == np.argmax(q)))

    def extend(self, other: Comparison) -> None:
        for name in ("kld", "nll", "nll_exact", "same_top"):
            getattr(self, name).extend(getattr(other, name))

    def reverse(self) -> None:
        for name in ("kld", "nll", "nll_exact", "same_top"):
            getattr(self, name).reverse()

    def __len__(self) -> int:
        return len(self.kld)

    def as_dict(self) -> dict[str, list[float] | list[bool]]:
        figures = {name: [float(f"{each:.6g}") for each in getattr(self, name)] for name in ("kld", "nll", "nll_exact")}
        return {**figures, "same_top": self.same_top}


@dataclass(frozen=True)
class Quality:
    """What a comparison comes to."""

    positions: int
    kld_mean: Estimate
    kld_p99: Estimate
    kld_max: float
    same_top: Estimate
    perplexity: Estimate
    perplexity_ratio: Estimate

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def log_softmax(logits: NDArray[np.float32]) -> Floats:
    wide = logits.astype(np.float64)
    wide -= wide.max()
    return np.asarray(wide - np.log(np.exp(wide).sum()))


def quality(comparison: Comparison, seed: int = 0) -> Quality:
    if not len(comparison):
        raise ValueError("a comparison without positions")
    kld, nll, exact = (np.array(values) for values in (comparison.kld, comparison.nll, comparison.nll_exact))
    draws = resamples(len(kld), seed)
    return Quality(
        positions=len(kld),
        kld_mean=interval(float(kld.mean()), kld[draws].mean(axis=1)),
        kld_p99=interval(float(np.quantile(kld, 0.99)), np.quantile(kld[draws], 0.99, axis=1)),
        kld_max=float(kld.max()),
        same_top=proportion(comparison.same_top),
        perplexity=interval(float(bounded_exp(nll.mean())), bounded_exp(nll[draws].mean(axis=1))),
        # paired: both decodings saw the same tokens, so most of the spread cancels
        perplexity_ratio=interval(float(bounded_exp((nll - exact).mean())), bounded_exp((nll - exact)[draws].mean(axis=1))),
    )


def bounded_exp(nats: Floats) -> Floats:
    """A hopeless decoding has a huge perplexity, not an infinite one: JSON has no word for that."""
    return np.asarray(np.exp(np.clip(nats, -700.0, 700.0)))


def resamples(count: int, seed: int) -> NDArray[np.int64]:
    """Blocks of neighbours are drawn together: what is hard to predict comes in runs."""
    block = max(1, round(count ** (1 / 3)))
    random = np.random.default_rng(seed)
    starts = random.integers(0, count, size=(RESAMPLES, -(-count // block)))
    drawn = (starts[:, :, None] + np.arange(block)).reshape(RESAMPLES, -1)[:, :count] % count
    return np.asarray(drawn, dtype=np.int64)


def interval(value: float, drawn: Floats) -> Estimate:
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(value, min(value, float(low)), max(value, float(high)))


def proportion(hits: Sequence[bool]) -> Estimate:
    """Wilson's interval: it does not claim certainty from 64 hits out of 64."""
    count, z = len(hits), 1.96
    share = sum(hits) / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * np.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return Estimate(share, min(share, max(0.0, float(middle - half))), max(share, min(1.0, float(middle + half))))
