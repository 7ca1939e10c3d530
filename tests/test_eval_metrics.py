"""The figures: right on what can be worked out by hand, and honest about what they do not know."""

from __future__ import annotations

import numpy as np
import pytest

from art_local.errors import UserError
from art_local.eval.metrics import Comparison, log_softmax, proportion, quality


def logits(*probabilities: float) -> np.ndarray:
    return np.log(np.array(probabilities)).astype(np.float32)


def test_a_divergence_worked_out_by_hand() -> None:
    comparison = Comparison()
    comparison.add(logits(0.5, 0.25, 0.25), logits(0.25, 0.5, 0.25), following=1)
    assert comparison.kld[0] == pytest.approx(0.5 * np.log(2) - 0.25 * np.log(2), abs=1e-6)
    assert comparison.same_top == [False]
    assert np.exp(-comparison.nll[0]) == pytest.approx(0.5, abs=1e-6)
    found = quality(comparison)
    assert found.perplexity_ratio.value == pytest.approx(0.25 / 0.5, abs=1e-6)


def test_the_same_logits_cost_nothing_whatever_their_offset() -> None:
    comparison = Comparison()
    random = np.random.default_rng(1)
    for _ in range(20):
        one = (5 * random.standard_normal(1000)).astype(np.float32)
        comparison.add(one, one + np.float32(64.0), following=3)
    found = quality(comparison)
    assert found.kld_max < 1e-9 and min(comparison.kld) >= 0
    assert found.same_top.value == 1.0
    assert found.perplexity_ratio.value == pytest.approx(1.0, abs=1e-5)


def test_huge_logits_stay_finite() -> None:
    comparison = Comparison()
    comparison.add(np.array([3e4, 0, -3e4], dtype=np.float32), np.array([-3e4, 3e4, 0], dtype=np.float32), following=0)
    found = quality(comparison)
    assert np.isfinite(found.kld_max) and found.kld_max > 1000
    assert np.isfinite(log_softmax(np.array([np.float32(88.0)] * 5))).all()


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("exact", [True, False])
def test_what_is_no_number_is_no_perfect_match(broken: float, exact: bool) -> None:
    good, bad = logits(0.5, 0.5), np.array([1.0, broken], dtype=np.float32)
    with pytest.raises(UserError, match="logits that are no numbers"):
        Comparison().add(*((bad, good) if exact else (good, bad)), following=0)


def test_intervals_hold_their_figure_and_narrow_with_more_positions() -> None:
    random = np.random.default_rng(2)
    widths = []
    for count in (20, 2000):
        comparison = Comparison(*(list(map(float, random.exponential(size=count))) for _ in range(3)), [True] * count)
        found = quality(comparison)
        for one in (found.kld_mean, found.kld_p99, found.same_top, found.perplexity, found.perplexity_ratio):
            assert one.low <= one.value <= one.high
        assert found.kld_mean.value <= found.kld_p99.value <= found.kld_max
        widths.append(found.kld_mean.high - found.kld_mean.low)
    assert widths[1] < widths[0] / 4


def test_64_of_64_is_not_certainty() -> None:
    found = proportion([True] * 64)
    assert found.value == found.high == 1.0
    assert 0.93 < found.low < 0.96


def test_a_single_position_has_a_figure_too() -> None:
    comparison = Comparison([0.5], [1.0], [1.0], [True])
    assert quality(comparison).kld_mean.value == 0.5
    with pytest.raises(ValueError):
        quality(Comparison())
