"""What the catalog promises of the criteria that rank units without walks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import shapprune
from shapprune import LayerGame, ShapPruneError
from shapprune.criteria.catalog import CATALOG
from shapprune.networks.builders import build
from shapprune.pruning.loop import prune_steps
from shapprune.pruning.target import Target
from tests.toys import ConvNetwork, ResidualNetwork, images, labels, randomise

RANKINGS = [name for name, criterion in CATALOG.items() if "rankings" in criterion.function]
OF_EXAMPLES = {"fisher": 3, "hrank": 0}  # a score for each example, and what it costs
OF_THE_LAYER = {"batchnorm-scale": 0, "fpgm": 0, "snip": 3, "grasp": 12, "synflow": 3 / 7}


def game(layer="features.4", model=None, count=7, **options):
    return LayerGame(randomise(model or ConvNetwork()), layer, images(count), labels(count), **options)


@pytest.mark.parametrize("name", RANKINGS)
def test_all_are_in_the_catalog_and_say_what_they_cost(name):
    g = game()
    scores = shapprune.score(g, name)
    assert scores.criterion == name
    assert scores.draws is None
    assert scores.values.shape == ((7, 6) if name in OF_EXAMPLES else (1, 6))
    assert scores.evaluations == pytest.approx((OF_EXAMPLES | OF_THE_LAYER)[name])
    assert torch.equal(shapprune.score(g, name).values, scores.values)
    assert name in (OF_EXAMPLES | OF_THE_LAYER)


@pytest.mark.parametrize("name", RANKINGS)
@pytest.mark.parametrize(
    ("kind", "layer"), [(ConvNetwork, "features.0"), (ConvNetwork, "fc"), (ResidualNetwork, "conv1")]
)
def test_finite_on_any_kind_of_layer(name, kind, layer):
    if name == "batchnorm-scale" and layer == "fc":
        return
    g = game(layer, kind())
    scores = shapprune.score(g, name)
    assert scores.values.isfinite().all()
    assert scores.values.shape[1] == g.units
    assert scores.aggregate().std() > 0


@pytest.mark.parametrize(
    ("architecture", "layer"),
    [("resnet20", "layer1.0.conv1"), ("resnet20", "layer3.2.conv1"), ("vgg16", "features.40")],
)
def test_finite_on_built_in_architectures(architecture, layer):
    model = randomise(build(architecture, (3, 32, 32), 10))
    g = LayerGame(model, layer, images(3, (3, 32, 32)), labels(3, 10))
    for name in RANKINGS:
        scores = shapprune.score(g, name)
        assert scores.values.isfinite().all()
        assert scores.values.shape == (3 if name in OF_EXAMPLES else 1, g.units)


@pytest.mark.parametrize("name", RANKINGS)
def test_the_network_is_handed_back_as_it_came(name):
    model = randomise(ConvNetwork()).train()
    model.features[1].eval()
    model.features[4].weight.requires_grad_(False)
    model.fc.weight.grad = torch.ones_like(model.fc.weight)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    parameters = dict(model.named_parameters())
    wants = {key: value.requires_grad for key, value in parameters.items()}
    modes = [each.training for each in model.modules()]
    random, numbers = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    with torch.no_grad():
        shapprune.score(LayerGame(model, "features.4", images(7), labels(7)), name)
        assert not torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), random)
    assert (np.random.get_state()[1] == numbers).all()  # noqa: NPY002
    assert [each.training for each in model.modules()] == modes
    after = model.state_dict()
    assert all(torch.equal(value, before[key]) for key, value in after.items())
    for key, value in model.named_parameters():
        assert value is parameters[key]
        assert value.requires_grad == wants[key]
        assert (value.grad is None) == (key != "fc.weight")
    assert torch.equal(model.fc.weight.grad, torch.ones_like(model.fc.weight))


@pytest.mark.parametrize("name", RANKINGS)
def test_units_that_are_gone(name):
    g = game()
    left = g.without([1, 4])
    whole, rest = (shapprune.score(each, name).values for each in (g, left))
    if name in OF_EXAMPLES:
        assert (rest[:, [1, 4]] == 0).all()
    else:  # they are not seen to be gone
        assert torch.equal(rest, whole)


@pytest.mark.parametrize("name", RANKINGS)
def test_a_network_that_has_lost_units_is_ranked_again(name):
    layers = ["features.0", "features.4"]
    model, score = randomise(ConvNetwork()), lambda g: shapprune.score(g, name)
    steps = list(prune_steps(model, layers, Target(ratio=0.5), images(7), labels(7), score))
    scores = [step.scores[layer] for step, layer in zip(steps, reversed(layers), strict=True)]
    assert [each.values.shape[1] for each in scores] == [6, 4]
    assert steps[-1].model(images(2)).shape == (2, 3)
    whole = shapprune.score(game("features.0"), name)
    assert torch.equal(scores[-1].values, whole.values) == (name in ("batchnorm-scale", "fpgm", "hrank"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: shapprune.score(game("fc"), "batchnorm-scale"), "none follows 'fc'"),
        (lambda: shapprune.score(game("stem", ResidualNetwork()), "batchnorm-scale"), "none follows 'stem'"),
        (lambda: shapprune.score(game(payoff="margin"), "grasp"), "it takes payoff 'loss'"),
        (lambda: shapprune.score(game(payoff="accuracy"), "grasp"), "it takes payoff 'loss'"),
        (lambda: shapprune.score(game(), "grasp", temperature=0), "0 is not above 0"),
        (
            lambda: shapprune.criteria.rankings.grasp(game(), temperature=-1),
            "option 'temperature' of grasp: -1 is not above 0",
        ),
        (lambda: shapprune.score(game(payoff="accuracy"), "snip"), "'accuracy' has no gradient"),
        (lambda: shapprune.score(game(payoff="accuracy"), "fisher"), "'accuracy' has no gradient"),
    ],
)
def test_what_cannot_be_ranked_is_refused(call, message):
    with pytest.raises(ShapPruneError) as error:
        call()
    assert message in str(error.value)
    assert "\n" not in str(error.value)
