"""Scoring in stages, and the games that are left when units are gone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import shapprune
from shapprune import LayerGame, ShapPruneError, shapley
from tests.toys import ConvNetwork, ResidualNetwork, images, labels, randomise


def conv_game(layer="features.4", model=None):
    return LayerGame(randomise(model or ConvNetwork()), layer, images(8), labels(8))


@pytest.mark.parametrize(("model", "layer"), [(ConvNetwork(), "features.4"), (ResidualNetwork(), "conv2")])
def test_units_that_are_gone_are_gone(model, layer):
    g = conv_game(layer, model)
    left = g.without([1]).without(torch.tensor([3]))
    kept = torch.from_numpy(np.random.default_rng(0).random((9, g.units)) < 0.6)
    really = kept.clone()
    really[:, [1, 3]] = False
    torch.testing.assert_close(left.value(kept), g.value(really), atol=1e-5, rtol=1e-5)
    assert left.activations[:, [1, 3]].abs().max() == 0
    s = shapley.permutation(left, permutations=3)
    assert s.values[:, [1, 3]].abs().max() == 0
    np.testing.assert_allclose(s.values.sum(1), (left.full - g.empty).double(), atol=1e-5)
    torch.testing.assert_close(g.full, conv_game(layer, model).full)  # the game itself is as it was


def test_evaluations_count_the_units_that_are_left():
    g = conv_game()
    before = g.evaluations
    left = g.without([0, 5])
    shapley.permutation(left, permutations=2)
    assert g.evaluations - before == left.evaluations - before == 2 * 3 + 2


def test_as_many_stages_as_units_of_leave_one_out_is_greedy_removal():
    g = conv_game()
    order, gone = [], []
    for _ in range(6):
        losses = {}
        for unit in set(range(6)) - set(gone):
            kept = torch.ones(1, 6, dtype=torch.bool)
            kept[0, [*gone, unit]] = False
            losses[unit] = -float(g.value(kept).mean())
        gone.append(min(losses, key=losses.get))
        order.append(gone[-1])
    s = shapprune.score(conv_game(), "rescored", of="leave-one-out", stages=6, aggregate="mean")
    assert s.order().tolist() == order
    assert s.values.shape == (1, 6)


def test_one_stage_is_the_criterion_itself():
    s = shapprune.score(conv_game(), "rescored", of="taylor", stages=1, aggregate="mean")
    assert s.order().tolist() == shapprune.score(conv_game(), "taylor").order().tolist()


def test_stages_draw_anew_and_repeat_for_a_seed():
    runs = [
        shapprune.score(conv_game(), "rescored", stages=3, options={"points": 2}, seed=seed).values
        for seed in (0, 0, 1)
    ]
    assert torch.equal(runs[0], runs[1])
    assert sorted(runs[2][0].tolist()) == list(range(6))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stages": 0}, "0 is not at least 1"),
        ({"of": "taylr"}, "did you mean 'taylor'"),
        ({"of": "rescored"}, "cannot be applied to itself"),
        ({"of": "taylor", "options": {"points": 3}}, "unknown option of taylor 'points'"),
        ({"aggregate": "median"}, "unknown aggregate 'median'"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(ShapPruneError) as error:
        shapprune.score(conv_game(), "rescored", **options)
    assert message in str(error.value)
