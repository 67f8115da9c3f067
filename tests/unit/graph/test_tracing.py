"""The graph of a network that has the layers of another."""

from __future__ import annotations

import copy

import pytest
import torch

import shapprune
from shapprune.graph import tracing
from shapprune.graph.exporting import recorded_layers
from shapprune.graph.tracing import record_again, trace
from shapprune.graph.unit_graph import UnitGraph
from shapprune.networks.losses import logits_of
from shapprune.pruning.loop import prune_steps
from shapprune.pruning.target import Target
from tests.toys import ConvNetwork, images, labels, randomise
from tests.unit import transformers

NETWORKS = {
    "convolutions": (lambda: randomise(ConvNetwork()), images(3)),
    **{
        name: (lambda case=case: transformers.build(case), case.inputs)
        for name, case in transformers.CASES.items()
        if name in ("torchvision vit", "torchvision swin", "timm vit", "gpt2", "llama")
    },
}


@pytest.fixture
def traced(monkeypatch):
    """The networks that were traced."""
    found, one = [], tracing.trace

    def follow(model, *given, **options):
        found.append(model)
        return one(model, *given, **options)

    for room in ("graph.unit_graph", "graph.lockstep", "pruning.maker", "pruning.distil"):
        monkeypatch.setattr(f"shapprune.{room}.trace", follow)
    return found


def changed(model):
    """A copy with other weights."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        for each in other.parameters():
            each.mul_(1.5)
    return other


@pytest.mark.parametrize("name", NETWORKS)
def test_the_graph_of_a_copy_runs_on_the_weights_of_the_copy(name):
    make, x = NETWORKS[name]
    model = make().eval()
    before = trace(model, x)
    other = changed(model)
    found, fresh = record_again(before, other), trace(other, x)
    assert [each.name for each in found.graph.nodes] == [each.name for each in fresh.graph.nodes]
    assert recorded_layers(found).keys() == recorded_layers(fresh).keys()
    assert bool(recorded_layers(found)) == (name == "gpt2")
    graph = UnitGraph(other, x, found)
    assert graph.layers == UnitGraph(other, x).layers
    with torch.no_grad():
        torch.testing.assert_close(logits_of(found(x)), logits_of(other(x)), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(logits_of(before(x)), logits_of(model(x)), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(logits_of(found(x)), logits_of(before(x)))


def test_a_network_that_is_made_to_fit_a_budget_is_traced_once_and_so_are_the_smaller_ones(traced):
    model = randomise(ConvNetwork())
    shapprune.prune(model, images(12), macs=0.5, steps=8)
    assert len(traced) == 2  # all smaller ones have layers as wide


def test_a_graph_that_does_not_compute_what_the_smaller_network_does_is_not_used(traced, monkeypatch):
    model = randomise(ConvNetwork())
    expected = shapprune.prune(model, images(12), macs=0.5, steps=8)
    traced.clear()
    monkeypatch.setattr("shapprune.pruning.maker.record_again", lambda one, other: record_again(one, changed(other)))
    found = shapprune.prune(model, images(12), macs=0.5, steps=8)
    assert len(traced) > 2
    for key, value in expected.model.state_dict().items():
        assert torch.equal(found.model.state_dict()[key], value)


def test_a_network_whose_layers_are_scored_at_once_is_traced_once(traced):
    model, x = randomise(ConvNetwork()), images(6)
    layers = ["features.0", "features.4", "fc"]
    steps = prune_steps(
        model,
        layers,
        Target(0.3),
        x,
        labels(6),
        lambda game: shapprune.score(game, "taylor"),
        sequential=False,
        repair="least-squares",
    )
    assert [step.removed.keys() for step in steps] == [set(layers)]
    assert traced.count(model) == 1
