"""The residual branches of networks: where they are, what is theirs, and how they are called."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from shapprune.data.vision import torchvision
from shapprune.graph.branches import common_path, find_branches, left_out
from shapprune.graph.unit_graph import UnitGraph
from shapprune.networks.builders import build
from tests.residual import Nested, Parallel, SmallResNet, SmallTransformer
from tests.toys import ResidualNetwork, images


class Own(nn.Module):
    """Four linear layers, and a function of them and x."""

    def __init__(self, function):
        super().__init__()
        self.a, self.b, self.c, self.d = (nn.Linear(4, 4) for _ in range(4))
        self.free, self.relu, self.function = nn.Parameter(torch.rand(4)), nn.ReLU(inplace=True), function

    def forward(self, x):
        return self.function(self, x)


def names(model, x):
    return [each.name for each in find_branches(UnitGraph(model, x))]


def test_a_branch_has_all_that_is_for_its_sum_alone():
    graph = UnitGraph(SmallResNet(), images(2))
    first, second, third = find_branches(graph)
    assert [each.name for each in (first, second, third)] == ["blocks.0", "blocks.1", "blocks.2"]
    assert {str(node.target).removeprefix("blocks.1.") for node in second.own} == {
        *("conv1", "bn1", "relu", "conv2", "bn2")  # and nothing of its shortcut
    }
    assert str(second.shortcut.target) == "blocks.1.downsample.1"
    assert str(second.begin.target) == "blocks.1.conv1"
    assert left_out(graph, [first, third]) == first.own | third.own


# What a network does -> the names of its branches.
ODD = {
    "the branch first": (lambda m, x: m.b(m.a(x).relu()) + x, ["a"]),
    "in place": (lambda m, x: (y := m.d(x)).add_(m.a(y)), ["a"]),
    "two in a row": (lambda m, x: (y := x + m.b(m.a(x))) + m.d(m.c(y)), ["a", "c"]),
    "scaled by a parameter": (lambda m, x: x + m.free * m.a(x).relu(), ["a"]),
    "one layer twice": (lambda m, x: (y := x + m.a(x).relu()) + m.a(y).relu(), ["a", "a:2"]),
    "a projection": (lambda m, x: m.a(x) + m.c(m.b(x).relu()), ["b"]),
    "two projections": (lambda m, x: m.a(x) + m.b(x), []),
    "two bent ways": (lambda m, x: m.a(x).relu() + m.b(x).relu(), []),
    "two streams": (lambda m, x: (x + m.a(x).relu()) + (x + m.b(x).relu()), ["a", "b"]),
    "beside each other": (lambda m, x: x + m.a(x).relu() + m.b(x).relu(), ["a", "b"]),
    "twice the value": (lambda m, x: x + x, []),
    "a number": (lambda m, x: m.a(x) + 1, []),
    "positions": (lambda m, x: m.a(x) + m.free, []),
    "no parameters": (lambda m, x: x + torch.tanh(x), []),
    "more than added": (lambda m, x: torch.add(x, m.a(x), alpha=0.5), []),
    "used elsewhere too": (lambda m, x: (x + (y := m.a(x))) * y, []),
    "of another size": (lambda m, x: x.mean(1, keepdim=True) + m.a(x), []),
}


@pytest.mark.parametrize("what", ODD)
def test_odd_sums(what):
    function, expected = ODD[what]
    assert names(Own(function), torch.rand(3, 4)) == expected


def test_what_changes_the_shortcut_in_place_is_not_left_out():
    graph = UnitGraph(Own(lambda m, x: (y := m.d(x)) + m.b(m.a(m.relu(y)))), torch.rand(3, 4))
    (branch,) = find_branches(graph)
    assert [str(node.target) for node in graph.traced.graph.nodes if node in branch.own] == ["a", "b"]
    assert str(branch.begin.target) == "a"


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (ResidualNetwork(), ["conv1"]),
        (Nested(), ["enter", "inner"]),
        (SmallTransformer(1), ["layers.0.attention", "layers.0.mlp"]),
        (SmallTransformer(2, Parallel), [f"layers.{n}.{part}" for n in "01" for part in ("mix.0", "mlp")]),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, nn.Module) else "",
)
def test_small_networks(model, expected):
    assert names(model.eval(), images(2)) == expected


# Architecture -> how many branches it has, and the first of their names.
KNOWN = {
    "resnet18": (8, "layer1.0"),
    "resnet50": (16, "layer1.0"),
    "mobilenet_v2": (10, "features.3.conv"),
    "efficientnet_b0": (9, "features.2.1.block"),
    "regnet_y_400mf": (16, "trunk_output.block1.block1-0.f"),
    "convnext_tiny": (18, "features.1.0"),
    "densenet121": (0, ""),
}


@pytest.mark.parametrize("name", KNOWN)
def test_torchvision(name):
    model = getattr(torchvision.models, name)(weights=None).eval()
    found = names(model, torch.rand(2, 3, 64, 64))
    assert (len(found), found[0] if found else "") == KNOWN[name]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(("name", "count"), [("resnet20", 9), ("resnet56", 27)])
def test_own_networks(name, count):
    found = names(build(name, (3, 32, 32), 10), torch.rand(2, 3, 32, 32))
    assert len(found) == count
    assert found[3 if name == "resnet20" else 9] == "layer2.0"


def test_vision_transformer():
    model = torchvision.models.VisionTransformer(16, 8, 2, 2, 8, 12, num_classes=3).eval()
    layer = "encoder.layers.encoder_layer_1."
    assert names(model, torch.rand(2, 3, 16, 16))[2:] == [f"{layer}self_attention", f"{layer}mlp"]


def test_common_path():
    assert common_path(["a.b.c", "a.b"]) == "a.b"
    assert common_path(["layer1", "layer10"]) == ""
    assert common_path([]) == ""
