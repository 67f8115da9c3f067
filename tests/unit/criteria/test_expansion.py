"""Criteria of single parameters, by hand: Model Shapley and its baselines."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from shapprune import LayerGame, ShapPruneError, score, shapley
from shapprune.parameters.expansion import Expansion
from shapprune.parameters.scores import score_parameters
from shapprune.parameters.units import pool_units
from tests.toys import ConvNetwork, images, labels, randomise

COSTS = {"model-shapley": 9, "gradient": 3, "gradient-trace": 3, "obd": 3}


def network():
    return randomise(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3))).eval()


def game(count=6, **options):
    x = torch.randn(count, 3, generator=torch.Generator().manual_seed(0))
    return LayerGame(network(), "0", x, labels(count), **options)


def of_neurons(first, bias, second):
    """What belongs to each neuron: its row, its bias, its column."""
    return (first.sum(1) + bias + second.sum(0)).double()


@pytest.mark.parametrize("name", COSTS)
def test_all_say_what_they_cost(name):
    g = game()
    scores = score(g, name)
    assert scores.criterion == name
    assert scores.values.shape == (1, 4)
    assert scores.evaluations == COSTS[name]
    assert torch.equal(score(g, name).values, scores.values)


def test_gradients_of_all_that_leaves_with_a_neuron():
    g = game()
    model = network()
    F.cross_entropy(model(g.images), g.labels).backward()
    weights = model[0].weight, model[0].bias, model[2].weight
    slopes = [each.grad.abs() for each in weights]
    products = [(each * each.grad).abs().detach() for each in weights]
    torch.testing.assert_close(score(g, "gradient").values[0], of_neurons(*slopes))
    torch.testing.assert_close(score(g, "gradient-trace").values[0], of_neurons(*products))
    row = (products[0].sum(1) + products[1]).double()
    torch.testing.assert_close(score(g, "gradient-trace", scope="rows").values[0], row)
    torch.testing.assert_close(score(g, "gradient", scope="rows").values[0], (slopes[0].sum(1) + slopes[1]).double())


@pytest.mark.parametrize("scope", ["all", "rows"])
def test_obd_is_half_the_mean_square_of_gradients_times_the_square(scope):
    g, model = game(), network()
    weights = model[0].weight, model[0].bias, model[2].weight
    saliencies = [torch.zeros_like(each) for each in weights]
    for one, label in zip(g.images.split(1), g.labels.split(1), strict=True):
        model.zero_grad()
        F.cross_entropy(model(one), label).backward()
        for total, each in zip(saliencies, weights, strict=True):
            total += each.grad.square() * each.detach().square() / 2 / len(g)
    expected = of_neurons(*saliencies) if scope == "all" else (saliencies[0].sum(1) + saliencies[1]).double()
    torch.testing.assert_close(score(g, "obd", scope=scope).values[0], expected)


@pytest.mark.parametrize(
    ("options", "expansion", "term"),
    [
        ({}, Expansion(), "both"),
        ({"sign": "paper"}, Expansion(sign="paper"), "both"),
        ({"order": "second", "block": "layer"}, Expansion(block="layer"), "second"),
        ({"order": "first"}, Expansion("none"), "first"),
        ({"hessian": "fisher", "block": "row", "pool": "mean"}, Expansion("fisher", "row"), "both"),
        ({"hessian": "shipped", "block": "matrix", "batch": 3}, Expansion("shipped", "matrix", batch=3), "both"),
        ({"alpha": 0.25, "batch": 2, "absolute": "sum"}, Expansion(alpha=0.25, batch=2, absolute="sum"), "both"),
    ],
)
def test_model_shapley_is_the_pooled_expansion(options, expansion, term):
    g = game()
    pooling = pool_units(g.model, "0", g.images, how=options.get("pool", "sum"))
    found = score_parameters(g.model, g.images, g.labels, expansion, pooling=pooling)
    torch.testing.assert_close(score(g, "model-shapley", **options).values[0], getattr(found, term)["units"])


def test_where_the_loss_is_quadratic_in_the_rows_values_are_exact():
    """Of a linear layer with squared errors behind it, and only its rows as players."""
    model = randomise(nn.Sequential(nn.Linear(3, 4, bias=False), nn.Linear(4, 1, bias=False))).eval()
    x, y = torch.randn(8, 3, generator=torch.Generator().manual_seed(1)), torch.zeros(8)
    g = LayerGame(model, "0", x, y, payoff=lambda outputs, targets: -((outputs[:, 0] - targets) ** 2))
    truth = shapley.exact(g).aggregate("mean")
    found = score(g, "model-shapley", scope="rows").aggregate("mean")
    torch.testing.assert_close(found, truth, rtol=1e-4, atol=1e-5)
    assert (score(g, "model-shapley", scope="rows", sign="paper").aggregate("mean") - truth).abs().max() > 0.1


@pytest.mark.parametrize("layer", ["features.0", "fc"])
def test_the_first_order_of_rows_behind_a_relu_is_the_signed_taylor_score(layer):
    model = randomise(ConvNetwork())
    model.features[1] = nn.Identity()
    g = LayerGame(model, layer, images(6), labels(6))
    found = score(g, "model-shapley", order="first", scope="rows").aggregate("mean")
    torch.testing.assert_close(found, score(g, "taylor", signed=True).aggregate("mean"), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", COSTS)
@pytest.mark.parametrize("payoff", ["margin", "kl"])
def test_other_payoffs(name, payoff):
    g = game(payoff=payoff)
    values = score(g, name).values
    assert values.isfinite().all()
    if payoff == "margin":
        assert len(values.unique()) == 4


@pytest.mark.parametrize("name", COSTS)
@pytest.mark.parametrize("layer", ["features.0", "features.4", "fc"])
def test_any_kind_of_layer(name, layer):
    g = LayerGame(randomise(ConvNetwork()), layer, images(6), labels(6))
    scores = score(g, name)
    assert scores.aggregate().std() > 0
    assert scores.values.shape == (1, g.units)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: score(game(payoff="accuracy"), "model-shapley"), "'accuracy' has no gradient"),
        (lambda: score(game(payoff="accuracy"), "obd"), "'accuracy' has no gradient"),
        (lambda: score(game(payoff="accuracy"), "gradient"), "'accuracy' has no gradient"),
        (lambda: score(game(), "model-shapley", hessian="shipped"), "give 'matrix'"),
        (lambda: score(game(), "model-shapley", alpha=1.0), "option 'alpha' of model-shapley: 1.0 is not"),
    ],
)
def test_what_cannot_be_scored_is_refused(call, message):
    with pytest.raises(ShapPruneError) as error:
        call()
    assert message in str(error.value)
    assert "\n" not in str(error.value)
