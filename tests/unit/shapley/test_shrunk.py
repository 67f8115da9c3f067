"""Walks shrunk towards gradients."""

from __future__ import annotations

import torch

from shapprune import shapley
from tests.games import conv_game


def test_shrinkage_lies_between_and_trusts_many_draws():
    g = conv_game(count=40)
    prior = shapley.path_gradient(g, points=8).values
    exact = shapley.exact(g).aggregate()
    for k in (1, 4, 64):
        s = shapley.shrunk(g, permutations=k, points=8)
        sampled = shapley.permutation(g, permutations=k, antithetic=True).values
        apart = sampled - prior
        trust = float(((s.values - prior) * apart).sum() / (apart * apart).sum())
        assert 0 <= trust <= 1
        assert torch.allclose(s.values, prior + trust * apart)
        if k == 64:
            worst = max(float(((each.mean(0) - exact) ** 2).mean()) for each in (prior, sampled))
            assert float(((s.aggregate() - exact) ** 2).mean()) <= worst
    assert shapley.shrunk(conv_game(), permutations=2, points=3).evaluations == 3 * 3 + 2 * 5 + 2
