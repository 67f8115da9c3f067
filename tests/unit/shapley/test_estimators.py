"""What all estimators have in common, of whatever kind."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import shapprune
from shapprune import LayerGame, ShapPruneError, oracle, shapley
from shapprune.criteria.catalog import CATALOG
from tests.games import conv_game
from tests.toys import ConvNetwork, images, labels, randomise


@pytest.mark.parametrize(
    "criterion", ["exact", "permutation", "coalition-gradient", "path-gradient", "leave-one-out", "taylor"]
)
def test_null_player_and_symmetry(criterion):
    model = randomise(ConvNetwork())
    with torch.no_grad():
        model.fc.weight[:, 2 * 4 : 3 * 4] = 0  # channel 2 of the second convolution is not read: null
        for part in (model.features[4].weight, model.features[4].bias):
            part[1] = part[0]
        for part in (model.features[5].weight, model.features[5].bias, *model.features[5].buffers()):
            if part.dim():
                part[1] = part[0]
        model.fc.weight[:, 4:8] = model.fc.weight[:, 0:4]  # channels 0 and 1 are twins
    g = LayerGame(model, "features.4", images(6), labels(6))
    values = shapprune.score(g, criterion).values
    np.testing.assert_allclose(values[:, 2], 0, atol=1e-6)
    if criterion in ("exact", "path-gradient", "leave-one-out", "taylor"):
        np.testing.assert_allclose(values[:, 0], values[:, 1], atol=1e-5)


def test_orders_depend_on_seed_layer_example_and_draw_only():
    g = conv_game(count=6)
    whole = shapley.permutation(g, permutations=3, seed=5).values
    half = LayerGame(g.model, g.layer, g.images[3:], g.labels[3:], examples=np.arange(3, 6))
    np.testing.assert_allclose(shapley.permutation(half, permutations=3, seed=5).values, whole[3:], atol=1e-6)
    gradients = shapley.coalition_gradient(g, points=3, seed=5).values
    np.testing.assert_allclose(shapley.coalition_gradient(half, points=3, seed=5).values, gradients[3:], atol=1e-6)
    assert not np.allclose(shapley.permutation(g, permutations=3, seed=6).values, whole)
    assert torch.equal(shapley.permutation(g, permutations=3, seed=5).values, whole)


def test_evaluations_are_what_was_run():
    g = conv_game()
    assert shapley.permutation(g, permutations=3).evaluations == 3 * 5 + 2
    assert shapley.permutation(g, permutations=3).evaluations == 3 * 5  # both ends are known by now
    assert shapprune.score(conv_game(), "leave-one-out").evaluations == 7
    assert shapley.exact(conv_game()).evaluations == 64
    assert shapprune.score(conv_game(), "taylor").evaluations == 3


def test_random_state_is_untouched():
    g = conv_game()
    before, state = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    for criterion in ("random", "permutation", "coalition-gradient"):
        shapprune.score(g, criterion, seed=3)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g: shapley.permutation(g, permutations=0), "option 'permutations' of permutation: 0 is not at least 1"),
        (lambda g: shapley.permutation(g, orders=np.array([[0, 0, 1, 2, 3, 4]])), "no removal orders of 6 units"),
        (
            lambda g: shapley.coalition_gradient(g, points=0),
            "option 'points' of coalition-gradient: 0 is not at least 1",
        ),
        (lambda g: shapley.path_gradient(g, points=0), "option 'points' of path-gradient: 0 is not at least 1"),
        (
            lambda g: shapley.permutation(g, depth=0.0),
            "option 'depth' of permutation: 0.0 is not above 0 and at most 1",
        ),
        (lambda g: shapley.coalition_gradient(g, low=0.5, high=0.5), "from 0.5 to 0.5"),
        (lambda g: shapley.coalition_gradient(g, low=0.5, paired=True), "paired coalitions need all"),
        (lambda g: shapprune.score(g, "taylr"), "did you mean 'taylor'"),
        (lambda g: shapprune.score(g, "taylor", sign=True), "did you mean 'signed'"),
        (lambda g: shapprune.score(g, "permutation", permutations=2.5), "2.5 is not a whole number"),
        (lambda g: shapprune.score(g, "permutation", settle=[1.5]), "1.5 is not strictly between 0 and 1"),
        (lambda g: shapprune.score(g, "permutation", settle=0.5), "0.5 is not a list"),
        (lambda g: shapprune.score(g, "weight-norm", norm="l3"), "'l3' is unknown; allowed: l1, l2"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ShapPruneError) as error:
        call(conv_game())
    assert message in str(error.value)


@pytest.mark.parametrize("criterion", [name for name, each in CATALOG.items() if each.game != "BranchGame"])
def test_one_unit_and_one_image(criterion):
    model = randomise(ConvNetwork(hidden=1))
    for layer, count in (("fc", 5), ("features.4", 1), ("fc", 1)):
        if CATALOG[criterion].batchnorm and layer == "fc":  # none follows it
            continue
        s = shapprune.score(LayerGame(model, layer, images(count), labels(count)), criterion)
        assert s.values.isfinite().all()
        assert s.aggregate("mean+2std").isfinite().all()
        assert sorted(s.order("mean+2std").tolist()) == list(range(s.values.shape[1]))


def fails_when_empty(outputs, labels):
    """A payoff that is not finite for networks that have lost much."""
    return torch.log(outputs[:, 2] - 1.9)  # that of the intact network is 2 and more


@pytest.mark.parametrize("criterion", ["exact", "permutation", "coalition-gradient", "leave-one-out", "shrunk"])
def test_a_payoff_that_is_not_finite_is_refused(criterion):
    g = conv_game(payoff=fails_when_empty)
    with pytest.raises(ShapPruneError, match=r"of layer 'features.4'.*not finite"):
        shapprune.score(g, criterion)
    with pytest.raises(ShapPruneError, match="not finite"):
        oracle.coalition_table(g)
