"""What is known of the architectures without building them."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch import nn

from shapprune.core.errors import ShapPruneError
from shapprune.core.games import PARTS
from shapprune.graph.residual import find_parts
from shapprune.graph.unit_graph import UnitGraph
from shapprune.networks.attention import SelfAttention
from shapprune.networks.builders import build
from shapprune.networks.tables import ARCHITECTURES, layer_table, part_table, settle, without_batchnorm

GREY, COLOUR, TEXT = (1, 28, 28), (3, 32, 32), (128,)
CASES = {  # architecture, options: shape, parameters, prunable layers, units
    ("mlp", ()): (GREY, 784 * 256 + 256 + 256 * 256 + 256 + 2570, 2, 512),
    ("mlp", (("widths", (30, 20)), ("nonlinearity", "leaky_relu"))): (GREY, 23550 + 620 + 210, 2, 50),
    ("mlp", (("width", 2024), ("nonlinearity", "leaky_relu"))): (GREY, 5_707_690, 2, 4048),
    ("mlp", (("width", 2024),)): (COLOUR, 10_338_602, 2, 4048),
    ("lenet5", ()): (GREY, 40_165, 4, 155),
    ("lenet5", (("widths", (8, 9, 36, 17)),)): (GREY, 8_046, 4, 70),
    ("lenet5", (("widths", (20, 50, 800, 500)),)): (GREY, 1_071_880, 4, 1370),
    ("fmnist_cnn", ()): (GREY, 16_849_994, 3, 4192),
    ("vgg16", ()): (COLOUR, 15_253_578, 15, 5248),
    ("resnet20", ()): (COLOUR, 269_722, 9, 336),
    ("resnet32", ()): (COLOUR, 464_154, 15, 560),
    ("resnet44", ()): (COLOUR, 658_586, 21, 784),
    ("resnet56", ()): (COLOUR, 853_018, 27, 1008),
    ("efficientnet_lite0", ()): (COLOUR, 4_652_008 - 990 * 1281, 19, 10576),
    ("efficientnet_lite0", (("width", 0.25),)): (GREY, 371_050, 19, 3896),
    ("cct", ()): (COLOUR, 283_723, 5, 64 + 2 * (2 + 128)),
    ("cct", (("convolutions", 3), ("depth", 1), ("heads", 3), ("hidden", 20))): (GREY, 219_103, 4, 64 * 2 + 3 + 20),
    ("vit", ()): (GREY, 138_890, 8, 4 * (4 + 128)),
    ("vit", (("patch", 8), ("depth", 1), ("heads", 1))): (COLOUR, 35_194, 2, 129),
    ("char_gpt", ()): (TEXT, 826_433 - 2 * 128 * 55 - 55, 8, 4 * (4 + 512)),
}


def shape_for(architecture):
    """The shape of a small input that an architecture takes."""
    options = settle(architecture, {})
    known = ARCHITECTURES[architecture]
    return TEXT if known.tokens else GREY if known.takes(GREY, options) else COLOUR


def inputs(shape):
    """Two images, or two sequences of ten different tokens."""
    return torch.randint(10, (2, *shape)) if shape == TEXT else torch.rand(2, *shape)


@pytest.mark.parametrize(("case", "expected"), CASES.items(), ids=[str(case) for case in CASES])
def test_sizes_and_layer_tables(case, expected):
    architecture, options = case[0], dict(case[1])
    shape, parameters, layers, units = expected
    model = build(architecture, shape, 10, **options).eval()
    assert sum(each.numel() for each in model.parameters()) == parameters
    table = layer_table(architecture, options, shape)
    assert (len(table), sum(table.values())) == (layers, units)

    called = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear | SelfAttention):
            module.register_forward_hook(lambda *_, name=name: called.append(name))
    outputs = model(inputs(shape))
    assert outputs.shape == (2, *(TEXT if shape == TEXT else ()), 10)
    modules = dict(model.named_modules())
    assert [name for name in called if name in table] == list(table)  # each is there, and in forward order
    assert called[-1] not in table
    for name, count in table.items():
        layer = modules[name]
        assert count == (layer.num_heads if isinstance(layer, SelfAttention) else layer.weight.shape[0])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_which_layers_a_batchnorm_follows(architecture):
    shape = shape_for(architecture)
    graph = UnitGraph(build(architecture, shape).eval(), inputs(shape))
    layers = layer_table(architecture, {})
    assert without_batchnorm(architecture, layers) == [name for name in layers if graph.norm_of(name) is None]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_how_many_branches_and_blocks_there_are(architecture):
    shape = shape_for(architecture)
    graph = UnitGraph(build(architecture, shape).eval(), inputs(shape))
    found = {}
    for kind in PARTS:
        with contextlib.suppress(ShapPruneError):  # there are none
            found[kind] = len(find_parts(graph, kind))
    assert part_table(architecture, {}) == found
