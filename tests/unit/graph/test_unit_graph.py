"""Where units are zeroed, and which layer they go into next."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from shapprune.core.errors import ShapPruneError
from shapprune.game.next_linear import next_linear
from shapprune.graph.layout import Layout
from shapprune.graph.unit_graph import UnitGraph
from tests.toys import ConvNetwork, ResidualNetwork, images


@pytest.mark.parametrize(
    ("layer", "sites"),
    [
        ("features.0", ("features.0", "features.1", "features.2", "features.3", "features.4")),
        ("features.4", ("features.4", "features.5", "features.6", "features.7", "fc")),
    ],
)
def test_sites_and_what_follows_of_a_chain(layer, sites):
    model = ConvNetwork()
    graph = UnitGraph(model, images(2))
    found = [graph.site(layer, site) for site in ("output", "norm", "activation")]
    gates = graph.past_pooling(found[-1])
    assert [str(node.target) for node in (*found, gates)] == list(sites[:4])
    following = next_linear(graph, gates)
    assert following.module is model.get_submodule(sites[4])
    assert (following.norm is model.features[5]) == (sites[4] == "features.4")
    assert graph.norm_of(layer) is model.get_submodule(sites[1])


def test_units_that_are_read_twice_have_no_next_layer():
    graph = UnitGraph(ResidualNetwork(), images(2))
    nexts = {name: next_linear(graph, graph.site(name, "activation")) for name in ("stem", "conv1", "conv2")}
    assert nexts["stem"] is None
    assert nexts["conv1"].module is graph.modules["conv2"]
    assert nexts["conv2"] is None
    assert graph.norm_of("stem") is None


def test_units_of_a_linear_layer_on_positions_lie_on_the_last_axis():
    graph = UnitGraph(nn.Sequential(nn.Linear(8, 4), nn.Flatten(), nn.Linear(32, 3)), images(2))
    assert graph.layout("0") == Layout(axis=-1)
    assert graph.layout("2") == Layout()


class Padded(nn.Module):
    """A convolution, a call of `torch.nn.functional.pad`, and a convolution that reads what it pads."""

    def __init__(self, *amounts, **options):
        super().__init__()
        self.amounts, self.options = amounts, options
        self.first, self.second = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 2, 3)

    def forward(self, x):
        return self.second(F.pad(F.relu(self.first(x)), self.amounts, **self.options))


@pytest.mark.parametrize(
    ("model", "kept"),
    [
        (Padded(0, 1, 0, 1), True),
        (Padded(1, 2, 0, 0, 0, 0, value=0.0), True),
        (Padded(1, 1, 1, 1, mode="reflect"), True),
        (Padded(0, 1, 0, 1, value=2.0), False),
        (Padded(0, 0, 0, 0, 1, -1), False),  # units move by one
        (Padded(0, 0, 0, 0, 0, 0, 1, -1), False),  # images do
    ],
    ids=lambda each: str(getattr(each, "amounts", each)),
)
def test_padding_keeps_units_where_they_are(model, kept):
    graph = UnitGraph(model, torch.rand(2, 1, 8, 8))
    gates = graph.past_pooling(graph.site("first", "activation"))
    assert (gates.name == "pad") == kept
    following = next_linear(graph, gates)
    assert (following is not None and following.module is model.second) == kept


class Changing(nn.Module):
    """A network that changes its inputs where they lie."""

    def __init__(self, change):
        super().__init__()
        self.change, self.network = change, ConvNetwork()

    def forward(self, x):
        return self.network(getattr(x, self.change)(2))


def test_a_network_that_changes_its_images_in_each_pass_is_refused():
    x = images(4)
    with pytest.raises(ShapPruneError, match=r"^Changing changes the images that it is given, .*x = x\.clone"):
        UnitGraph(Changing("mul_"), x)
    assert torch.equal(x, images(4))
    assert UnitGraph(Changing("clamp_"), x).layers == UnitGraph(Changing("clamp"), x).layers
    assert torch.equal(x, images(4))
