"""Exact values: by hand, and as the mean over all orders."""

from __future__ import annotations

from itertools import permutations as all_orders

import numpy as np
import pytest
import torch

from shapprune import oracle, shapley
from tests.games import conv_game, max_game


def test_max_network_on_four_points():
    values = shapley.exact(max_game()).aggregate("mean")
    np.testing.assert_allclose(values, [0.375, 0.375, 1.75, 0], atol=1e-6)


def test_max_network_on_the_square():
    # The payoff is a polynomial of degree 2 on either side of the diagonal. The mid-point rule on k x k cells is off
    # by O(1 / k^2), and the cells on the diagonal by no more: 400 points a side leave an error below 1e-3.
    k = 400
    grid = (torch.arange(k) + 0.5) * 10 / k
    x = torch.cartesian_prod(grid, grid)
    values = shapley.exact(max_game(x)).aggregate("mean")
    np.testing.assert_allclose(values, [6.25, 6.25, 37.5, 0], atol=2e-3)
    assert values.sum() == pytest.approx(50, abs=2e-3)


def test_exact_is_the_mean_over_all_orders():
    g = conv_game("features.0")
    every = np.array(list(all_orders(range(4))))
    walked = shapley.permutation(g, orders=every)
    np.testing.assert_allclose(shapley.exact(g).values, walked.values, atol=1e-6)


def test_exact_equals_the_coalition_table():
    g = conv_game()
    table = oracle.coalition_table(g)
    np.testing.assert_allclose(oracle.shapley_values(table), shapley.exact(g).aggregate(), atol=1e-7)
    assert oracle.shapley_values(table).sum() == pytest.approx(table[-1] - table[0])
