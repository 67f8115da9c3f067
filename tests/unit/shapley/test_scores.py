"""Scores: aggregates, standard errors, what is undecided, and parts that merge."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import shapprune
from shapprune import LayerGame, ShapPruneError, shapley
from tests.games import conv_game


def test_aggregates():
    s = shapley.permutation(conv_game(), permutations=2)
    values = s.values.numpy()
    np.testing.assert_allclose(s.aggregate("mean"), values.mean(0))
    np.testing.assert_allclose(s.aggregate("mean+2std"), values.mean(0) + 2 * values.std(0))
    np.testing.assert_allclose(s.aggregate("mean+0.5std"), values.mean(0) + 0.5 * values.std(0))
    np.testing.assert_allclose(s.aggregate("abs"), abs(values).mean(0))
    np.testing.assert_allclose(s.aggregate("p97.7"), np.percentile(values, 97.7, axis=0))
    np.testing.assert_allclose(s.aggregate(lambda v: v.amax(0)), values.max(0))
    for wrong in ("median", "mean+std", "p101", "mean+2stdx"):
        with pytest.raises(ShapPruneError, match="unknown aggregate"):
            s.aggregate(wrong)


@pytest.mark.parametrize("function", [lambda v: v.mean(), lambda v: v.mean(1), lambda v: v, lambda v: v.mean(0) / 0])
def test_functions_that_do_not_score_each_unit_are_refused(function):
    scores = shapprune.UnitScores(torch.rand(5, 3), "by hand", 0, 0)
    with pytest.raises(ShapPruneError, match=r"a finite number of each unit of values \[5, 3\], but <lambda> returns"):
        scores.order(function)


def test_standard_error_of_what_is_not_drawn_is_zero():
    assert shapley.exact(conv_game()).standard_error().abs().sum() == 0
    assert shapley.permutation(conv_game(), permutations=1).standard_error().isnan().all()


@pytest.mark.parametrize("options", [{"shared": True}, {}, {"antithetic": True}])
def test_standard_error_is_the_spread_of_repetitions(options):
    g = conv_game(count=25)
    runs = [shapley.permutation(g, permutations=32, seed=seed, **options) for seed in range(40)]
    for how in ("mean", "mean+2std", "abs"):
        spread = torch.stack([run.aggregate(how) for run in runs]).std(0)
        told = torch.stack([run.standard_error(how) for run in runs]).pow(2).mean(0).sqrt()
        # The spread of 40 runs is itself known to 1 / sqrt(80) = 11 %, and the linearisation is a first order.
        ratio = (told / spread).numpy()
        assert 0.7 < np.median(ratio) < 1.4, (how, ratio)


def test_undecided_units_are_those_near_the_cut():
    g = conv_game(count=20)
    few, many = (shapley.permutation(g, permutations=k) for k in (2, 400))
    assert few.undecided(0.5).sum() >= many.undecided(0.5).sum()
    assert not shapley.exact(g).undecided(0.5).any()
    assert shapley.permutation(g, permutations=1).undecided(0.5).all()  # one draw tells nothing
    assert not many.undecided(0.1).any()  # no unit leaves
    noise = torch.from_numpy(np.random.default_rng(0).normal(size=(10, 1, 4)) * 0.1).float()
    scores = shapprune.UnitScores((noise + torch.tensor([0.0, 1.0, 1.02, 3.0])).mean(0), "x", 0, 0, noise)
    assert scores.undecided(0.5).tolist() == [False, True, True, False]
    with pytest.raises(ShapPruneError, match="strictly between 0 and 1"):
        many.undecided(1.0)


@pytest.mark.parametrize(
    ("criterion", "options"),
    [("permutation", {}), ("permutation", {"antithetic": True}), ("coalition-gradient", {}), ("taylor", {})],
)
def test_parts_merge_to_the_whole(criterion, options):
    g = conv_game(count=9)
    whole = shapprune.score(g, criterion, seed=2, **options)
    parts = []
    for part in (slice(0, 2), slice(2, 9)):
        some = LayerGame(g.model, g.layer, g.images[part], g.labels[part], examples=np.arange(9)[part])
        parts.append(shapprune.score(some, criterion, seed=2, **options))
    merged = shapley.merge(parts)
    np.testing.assert_allclose(merged.values, whole.values, atol=1e-6)
    np.testing.assert_allclose(merged.aggregate("mean+2std"), whole.aggregate("mean+2std"), atol=1e-6)
    np.testing.assert_allclose(merged.standard_error("mean+2std"), whole.standard_error("mean+2std"), atol=1e-6)
    with pytest.raises(ShapPruneError, match="cannot be merged"):
        shapley.merge([parts[0], shapprune.score(g, "apoz")])
