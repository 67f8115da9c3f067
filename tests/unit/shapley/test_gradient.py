"""Values from gradients in the gates of units."""

from __future__ import annotations

import numpy as np

from shapprune import shapley
from tests.games import conv_game


def test_coalition_gradient_ranks_like_exact():
    g = conv_game(count=40)
    exact = shapley.exact(g).aggregate()
    s = shapley.coalition_gradient(g, points=64)
    assert np.corrcoef(s.aggregate(), exact)[0, 1] > 0.9
    assert s.evaluations == 3 * 64
    assert s.draws.shape == (32, 40, 6)


def test_range_and_pairs_of_coalitions():
    g = conv_game(count=30)
    seen = []
    gradient = g.gate_gradient
    g.gate_gradient = lambda gates: (seen.append(gates), gradient(gates))[1]
    shapley.coalition_gradient(g, points=8, low=0.5, high=1.0)
    share = seen[-1].mean(axis=(1, 2))
    assert (np.abs(share - (0.5 + (np.arange(8) + 0.5) / 16)) < 0.15).all()  # 180 draws a point: three deviations
    s = shapley.coalition_gradient(g, points=5, paired=True)
    assert (seen[-1][0] == ~seen[-1][1]).all()
    assert (seen[-1][2] == ~seen[-1][3]).all()
    assert s.draws.shape == (3, 30, 6)


def test_path_gradient_sums_to_the_payoff_and_draws_nothing():
    g = conv_game()
    s = shapley.path_gradient(g, points=400)
    # The mid-point rule on a piecewise smooth path: the error falls with the number of points.
    np.testing.assert_allclose(s.values.sum(1), (g.full - g.empty).double(), atol=5e-3)
    assert s.standard_error().abs().sum() == 0
    assert shapley.path_gradient(g, points=4).evaluations == 12
