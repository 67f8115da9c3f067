"""Walks along removal orders: what they converge to, how they are cut short and when they stop."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from shapprune import ShapPruneError, shapley
from tests.games import conv_game
from tests.toys import HandGame


@pytest.mark.parametrize("options", [{"shared": True}, {"shared": False}, {"antithetic": True}])
@pytest.mark.parametrize("k", [1, 2, 3, 7])
def test_efficiency_for_each_example(options, k):
    g = conv_game()
    s = shapley.permutation(g, permutations=k, **options)
    # float32 payoffs of a few units, summed over 6 steps: 1e-5 is ten times their rounding error
    np.testing.assert_allclose(s.values.sum(1), (g.full - g.empty).double(), atol=1e-5)


def test_permutation_converges_to_exact_within_its_standard_error():
    g = conv_game(count=20)
    exact = shapley.exact(g).aggregate()
    for shared in (True, False):
        s = shapley.permutation(g, permutations=200, shared=shared)
        error = (s.aggregate() - exact).abs() / s.standard_error()
        assert s.standard_error().min() > 0
        assert error.max() < 4.5  # 12 standard normal numbers, one in 10,000 such tests fails; the seed is fixed


def test_own_orders_beat_shared_orders():
    g = conv_game(count=40)
    exact = shapley.exact(g).aggregate()

    def error(shared):
        runs = [shapley.permutation(g, 2, shared=shared, seed=seed).aggregate() for seed in range(10)]
        return sum(float(((run - exact) ** 2).mean()) for run in runs)

    assert error(False) < error(True) / 4


@pytest.mark.parametrize("layer", ["features.4", "fc"])
def test_walks_cut_short(layer):
    g = conv_game(layer)
    s = shapley.permutation(g, permutations=3, depth=0.5)
    whole = shapley.permutation(g, permutations=3)
    np.testing.assert_allclose(s.values.sum(1), (g.full - g.empty).double(), atol=1e-5)
    assert s.evaluations == 3 * (g.units // 2) + 2
    assert whole.evaluations == 3 * (g.units - 1)
    order = np.arange(g.units)[None]
    cut, full = (shapley.permutation(g, orders=order, depth=depth).values for depth in (0.5, 1.0))
    half = g.units // 2
    np.testing.assert_allclose(cut[:, :half], full[:, :half], atol=1e-6)  # what was walked is what it was
    np.testing.assert_allclose(cut[:, half:].std(1), 0, atol=1e-9)  # the others share


@pytest.mark.parametrize("shared", [False, True])
def test_orders_that_end_where_coalitions_are_too_small(shared):
    g = HandGame(6, lambda kept: kept @ torch.tensor([3.0, -1, 0.5, 2, 0, 7]).double(), examples=2)
    s = shapley.permutation(g, permutations=4, low=0.5, shared=shared)
    assert shapley.permutation(conv_game(), permutations=4, low=0.5).evaluations == 4 * 3 + 2
    # Two orders in a row begin at both halves, so each unit left once in them, and is worth the same everywhere.
    np.testing.assert_allclose(s.values, np.tile([3.0, -1, 0.5, 2, 0, 7], (2, 1)), atol=1e-12)


def test_what_small_coalitions_are_worth_does_not_count():
    def worth(kept):
        there = kept.sum(2)
        return torch.where(there >= 4, there, -1e6)  # with less than 0.7 of five units nothing is left to tell

    s = shapley.permutation(HandGame(5, worth, examples=1), permutations=50, low=0.7)
    np.testing.assert_allclose(s.values, 1, atol=1e-12)  # one unit leaves each order; five orders are five units


@pytest.mark.parametrize("options", [{"depth": 0.5}, {"antithetic": True}])
def test_orders_that_end_early_have_no_other_end(options):
    with pytest.raises(ShapPruneError, match=r"low 0\.7 goes with neither depth nor antithetic"):
        shapley.permutation(conv_game(), low=0.7, **options)


def test_antithetic_walks_each_order_back():
    g = conv_game()
    order = np.array([[3, 1, 0, 2, 5, 4]])
    pair = shapley.permutation(g, orders=np.concatenate([order, order[:, ::-1]]))
    both = [shapley.permutation(g, orders=one).values for one in (order, order[:, ::-1].copy())]
    np.testing.assert_allclose(pair.values, (both[0] + both[1]) / 2, atol=1e-6)
    s = shapley.permutation(g, permutations=5, antithetic=True)
    assert s.draws.shape == (3, 6, 6)  # two pairs and a single order
    assert shapley.permutation(g, permutations=80).draws.shape == (32, 6, 6)


def test_draws_stop_when_all_is_decided():
    g = conv_game(count=20)
    s = shapley.permutation(g, permutations=1000, settle=[0.5])
    assert s.settled is True
    assert 2 * 5 <= s.evaluations < 1000 * 5
    assert not s.undecided(0.5).any()
    few = shapley.permutation(g, permutations=1, settle=[0.5])
    assert few.settled is False
    assert shapley.permutation(g, permutations=2).settled is None
    more = shapley.permutation(g, permutations=1000, settle=[0.2, 0.5], settle_by="mean+2std")
    assert any(more.undecided(ratio, "mean+2std").any() for ratio in (0.2, 0.5)) != more.settled
