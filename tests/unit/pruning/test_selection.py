"""Orders of units by a criterion of the catalog, in a structure that is there already."""

from __future__ import annotations

import pytest
import torch

from shapprune import LayerGame, ShapPruneError, score
from shapprune.graph import unit_graph
from shapprune.graph.dependents import Dependencies
from shapprune.graph.unit_graph import UnitGraph
from shapprune.pruning.divergence import run
from shapprune.pruning.selection import Selector, Structure
from tests.residual import SmallResNet
from tests.toys import ConvNetwork, randomise

CRITERIA = ["taylor", "fluctuation", "weight-taylor", "weight-norm"]


@pytest.mark.parametrize("criterion", CRITERIA)
def test_the_network_is_traced_once_for_all_layers(criterion, monkeypatch):
    model, x = randomise(SmallResNet()).eval(), torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    structure, traced, trace = Structure.of(model, x[:2]), [], unit_graph.trace
    monkeypatch.setattr(unit_graph, "trace", lambda *given: traced.append(given) or trace(*given))
    # Not the images that the structure was found with: the games look at their own.
    found = Selector(structure, criterion=criterion).orders(x[3:])
    assert traced == []
    assert len(found) == len(structure.groups) > 2
    labels = run(model, x[3:]).argmax(1)
    for layer, group in structure.groups.items():
        scores = [score(LayerGame(model, name, x[3:], labels), criterion).aggregate("mean") for name in group]
        assert found[layer] == torch.stack(scores).sum(0).argsort(stable=True).tolist()
    assert len(traced) == sum(map(len, structure.groups.values()))  # each game alone traces the network


def test_dependencies_of_another_network_are_refused():
    model, other, x = randomise(ConvNetwork()), randomise(ConvNetwork()), torch.rand(3, 1, 8, 8)
    dependencies = Dependencies(other, x[:2], UnitGraph(other, x[:2]))
    with pytest.raises(ShapPruneError, match="the dependencies are those of another network"):
        LayerGame(model, "fc", x, torch.tensor([0, 1, 2]), dependencies=dependencies)
