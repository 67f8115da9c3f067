"""The order in which units leave, by their readers' loss and the norm of their own weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from shapprune import LayerGame, ShapPruneError, score
from shapprune.criteria.elimination import eliminate
from shapprune.criteria.reconstruction import readings_of
from shapprune.graph.incoming import incoming_parts, incoming_weights
from shapprune.graph.unit_graph import UnitGraph
from shapprune.pruning.selection import Selector, Structure
from tests.toys import ConvNetwork, ResidualNetwork, images, labels


def network():
    torch.manual_seed(0)
    return ConvNetwork().eval(), images(6), labels(6)


def order(values):
    return values[0].argsort(stable=True).tolist()


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0, 50.0])
def test_losses_are_multiplied_by_the_norm_before_the_least_is_looked_for(power):
    model, x, y = network()
    game = LayerGame(model, "features.0", x, y)
    norms = model.features[0].weight.detach().flatten(1).norm(dim=1).double()
    expected = eliminate(readings_of(game), prior=norms**power)
    found = score(game, "reconstruction", norm_power=power)
    assert order(found.values) == expected.order
    assert sorted(found.values[0].tolist()) == pytest.approx(expected.lost[1:])  # what is lost is not multiplied
    if power == 0:
        assert expected.order == eliminate(readings_of(game)).order
    if power == 50:
        assert expected.order == norms.argsort().tolist()


def test_a_step_takes_the_least_product():
    model, x, y = network()
    readings = readings_of(LayerGame(model, "features.0", x, y))
    orders = ([unit, *(each for each in range(4) if each != unit)] for unit in range(4))
    first = [eliminate(readings, order=each).lost[1] for each in orders]
    prior = torch.rand(4, dtype=torch.double) + 0.1
    assert eliminate(readings, prior=prior).order[0] == int((torch.tensor(first).double() * prior).argmin())


def test_a_group_counts_the_weights_of_all_its_layers():
    model, x = ResidualNetwork().eval(), images(6)
    structure = Structure.of(model, x)
    group = next(layers for layers in structure.groups.values() if len(layers) > 1)
    with torch.no_grad():
        model.get_submodule(group[-1]).weight[1] *= 1e4
    selector = Selector(structure, options={"norm_power": 50.0})
    assert selector.orders(x)[group[0]][-1] == 1
    assert selector.damage(x)[group[0]].order == selector.orders(x)[group[0]]
    squares = torch.stack([incoming_weights(structure.graph, each, x).square().sum(1) for each in group]).sum(0)
    assert selector.orders(x)[group[0]] == squares.argsort().tolist()


def test_incoming_weights_are_those_of_the_parameters():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3)).eval()
    graph = UnitGraph(model, images(2))
    torch.testing.assert_close(incoming_weights(graph, "0", images(2)).float(), model[0].weight.detach().flatten(1))
    (part,) = incoming_parts(graph, "3", images(2))
    torch.testing.assert_close(part.of_units(model[3].weight), model[3].weight)
    made = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(64, 5)), nn.Linear(5, 3)).eval()
    graph = UnitGraph(made, images(2).flatten(1))
    with pytest.raises(ShapPruneError, match="weights of layer '0' are computed from others"):
        incoming_parts(graph, "0", images(2).flatten(1))
    assert incoming_weights(graph, "0", images(2).flatten(1)).shape == (5, 64)


def test_a_reader_whose_weights_another_module_has_too_cannot_be_fitted():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    model[2].weight = model[0].weight
    game = LayerGame(model, "0", images(6, (4,)), torch.zeros(6, dtype=torch.long))
    with pytest.raises(ShapPruneError, match="'0' are read by '2', whose weights another module has too"):
        score(game, "reconstruction")
