"""Means of batches, by hand."""

from __future__ import annotations

import pytest
import torch

from shapprune import ShapPruneError
from shapprune.parameters.accumulation import Accumulated, Sums


def added(batches, **options):
    mean = Accumulated(**options)
    for value, examples in batches:
        mean.add({"w": torch.tensor([value])}, examples)
    return mean.result()["w"].item()


def test_the_plain_mean_is_that_of_all_examples():
    assert added([(1.0, 4), (4.0, 2)]) == 2.0


def test_the_exponentially_weighted_mean_starts_at_zero():
    batches = [(1.0, 4), (4.0, 2), (-2.0, 1)]
    by_hand = 0.0
    for value, _ in batches:
        by_hand = 0.9 * by_hand + 0.1 * value
    assert added(batches, alpha=0.1, unbiased=False) == pytest.approx(by_hand)
    assert added(batches, alpha=0.1) == pytest.approx(by_hand / (1 - 0.9**3))
    assert added([(5.0, 1)], alpha=0.01) == pytest.approx(5.0)


def test_numbers_of_half_precision_are_added_in_single_precision():
    mean = Accumulated()
    for _ in range(3000):
        mean.add({"w": torch.ones(1, dtype=torch.bfloat16)}, 1)
    assert mean.result()["w"].dtype == torch.float32
    assert mean.result()["w"].item() == 1.0


@pytest.mark.parametrize("alpha", [0, 1, -0.5, 2.0])
def test_an_alpha_out_of_bounds_is_refused(alpha):
    with pytest.raises(ShapPruneError, match=f"alpha {alpha} is not strictly between 0 and 1"):
        Accumulated(alpha)


def test_absolute_values_before_and_after_the_sum():
    found = {}
    for absolute in ("none", "batch", "sum"):
        sums = Sums(absolute, None, True)
        for first, second in ((3.0, -1.0), (-5.0, 2.0)):
            sums.add({"w": torch.tensor(first)}, {"w": torch.tensor(second)}, 1)
        found[absolute] = [each["w"].item() for each in sums.results()]
    assert found == {"none": [-1.0, 0.5, -0.5], "batch": [4.0, 1.5, 2.5], "sum": [1.0, 0.5, 0.5]}


def test_sums_go_on_from_a_state():
    whole, half = Sums("none", 0.5, True), Sums("none", 0.5, True)
    for sums in (whole, half):
        sums.add({"w": torch.tensor(3.0)}, {}, 2)
    later = Sums("none", 0.5, True)
    later.restore(half.state(), torch.device("cpu"))
    for sums in (whole, later):
        sums.add({"w": torch.tensor(-1.0)}, {}, 2)
    assert later.results() == whole.results()
    assert later.results()[1] == {}
