"""Sizes by widths are those of the networks themselves, and what depends on units is found."""

from __future__ import annotations

import random

import pytest
import torch

from shapprune import prunable_layers, remove_units
from shapprune.graph.counting import count_macs, count_parameters
from shapprune.graph.dependents import Dependencies
from shapprune.graph.sizes import Sizes
from shapprune.graph.unit_graph import UnitGraph
from shapprune.networks.builders import build
from tests.unit import transformers
from tests.unit.shallow import shallow

OWN = {"lenet5": (1, 28, 28), "vgg16": (3, 32, 32), "resnet20": (3, 32, 32), "efficientnet_lite0": (3, 64, 64)}
OTHERS = (
    *("resnet18", "mobilenet_v2", "mobilenet_v3_small", "densenet121", "efficientnet_b0", "squeezenet1_1"),
    *("regnet_y_400mf", "resnext50_32x4d", "mnasnet0_5"),
)
TRANSFORMERS = ("torchvision vit", "torchvision swin", "torchvision swin v2", "timm vit", "gpt2", "llama")


def network(name):
    if name in transformers.CASES:
        case = transformers.CASES[name]
        return transformers.build(case), case.inputs
    if name in OWN:
        return build(name, shape=OWN[name]).eval(), torch.rand(2, *OWN[name])
    return shallow(name).eval(), torch.rand(2, 3, 64, 64)


@pytest.mark.parametrize("name", [*OWN, *OTHERS, *TRANSFORMERS])
def test_sizes_are_those_of_the_smaller_network(name):
    torch.manual_seed(0)
    model, x = network(name)
    graph = UnitGraph(model, x)
    groups = {layer.group for layer in prunable_layers(model, x, coupled=True) if layer.group}
    sizes = Sizes(model, graph, Dependencies(model, x, graph), [group[0] for group in groups])
    draw = random.Random(0)
    widths = {group[0]: draw.randint(1, graph.units_of(group[0])) for group in groups}
    gone = {name: range(graph.units_of(name) - widths[group[0]]) for group in groups for name in group}
    for some, small in (({}, model), (widths, remove_units(model, gone, x))):
        numbers = [*small.parameters(), *small.buffers()]
        assert sizes.of(some) == {
            "macs": count_macs(small, x),
            "parameters": count_parameters(small),
            "bytes": sum(each.numel() * each.element_size() for each in numbers),
        }


def test_what_depends_on_flattened_units():
    model, x = build("lenet5").eval(), torch.rand(1, 1, 28, 28)
    own, reader = Dependencies(model, x, UnitGraph(model, x)).of("conv2")
    assert (own.name, own.reads, reader.name, reader.reads) == ("conv2", False, "fc1", True)
    assert own.places.tolist() == [[unit] for unit in range(len(own.places))]
    assert reader.places.tolist() == [list(range(16 * unit, 16 * unit + 16)) for unit in range(len(own.places))]
