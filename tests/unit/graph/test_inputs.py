"""What goes into layers, shown batch by batch."""

from __future__ import annotations

import torch
from torch import nn

from shapprune.graph.inputs import show_inputs
from shapprune.graph.unit_graph import UnitGraph
from tests.toys import ConvNetwork, SqueezingNetwork, images


def test_each_layer_is_shown_what_goes_into_it():
    model, x = ConvNetwork().train(), images(7)
    layers = [name for name, each in model.named_modules() if isinstance(each, nn.Conv2d | nn.Linear)]
    assert len(layers) > 2
    wanted, found = {}, {name: [] for name in layers}
    hooks = [
        model.get_submodule(name).register_forward_pre_hook(lambda _, given, name=name: wanted.update({name: given[0]}))
        for name in layers
    ]
    model.eval()(x)
    for hook in hooks:
        hook.remove()
    model.train()
    show_inputs(
        UnitGraph(model, x), {name: lambda values, _, name=name: found[name].append(values) for name in layers}, x
    )
    for name in layers:
        assert torch.equal(torch.cat(found[name]), wanted[name])
    assert all(each.training for each in model.modules())


def test_no_batch_has_a_single_image():
    x, sizes = images(51, (2, 5, 5)), []
    graph = UnitGraph(SqueezingNetwork(), x[:2])
    show_inputs(graph, {"out": lambda values, _: sizes.append(tuple(values.shape))}, x)
    assert sum(size[0] for size in sizes) == 51
    assert all(len(size) == 2 and size[0] > 1 for size in sizes)
