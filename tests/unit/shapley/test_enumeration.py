"""Coalitions in the order of their numbers."""

from __future__ import annotations

from itertools import combinations
from math import comb, factorial

import numpy as np
import pytest

from shapprune.shapley.enumeration import kept_units, marginal_weights, sets_by_rank, sets_of_sizes


def test_kept_units_follow_the_bits():
    assert kept_units([0, 1, 6], 3).tolist() == [[False] * 3, [True, False, False], [False, True, True]]


@pytest.mark.parametrize("units", [1, 2, 7, 512, 4096])
def test_weights_of_marginals(units):
    weights = marginal_weights(units)
    for s in {0, 1, 2, units // 2, units - 2, units - 1} & set(range(units)):
        # factorials of 4,096 are whole numbers of any length here
        expected = factorial(s) * factorial(units - s - 1) / factorial(units)
        assert weights[s] == pytest.approx(expected, rel=1e-9)
    assert (weights[[0, -1]] == 1 / units).all()
    assert np.array_equal(weights, weights[::-1])
    if units <= 512:
        assert (weights > 0).all()


@pytest.mark.parametrize("units", range(1, 9))
def test_sets_by_rank(units):
    for size in range(units + 1):
        masks = sets_by_rank(np.arange(comb(units, size)), size, units)
        numbers = [sum(1 << unit for unit in units) for units in combinations(range(units), size)]
        assert (masks @ (1 << np.arange(units))).tolist() == sorted(numbers)
    every = sets_of_sizes(range(units + 1), units, 0, 2**units)
    assert every.sum(1).tolist() == sorted(every.sum(1))
    parts = [sets_of_sizes(range(units + 1), units, start, min(start + 3, 2**units)) for start in range(0, 2**units, 3)]
    assert np.array_equal(np.concatenate(parts), every)


def test_sets_by_rank_of_many():
    total = comb(300, 292)
    masks = sets_by_rank(np.array([0, 1, total - 1]), 292, 300)
    assert (masks.sum(1) == 292).all()
    assert not masks[0, 292:].any()
    assert not masks[2, :8].any()
