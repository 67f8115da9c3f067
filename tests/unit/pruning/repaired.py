"""Networks that lose units and are repaired, shared by the tests of repairs."""

from __future__ import annotations

import torch
from torch import nn

from shapprune import remove_units
from shapprune.networks.builders import build
from shapprune.pruning.repair import repair
from tests.toys import ConvNetwork, ResidualNetwork, images, randomise


class Deep(nn.Sequential):
    """Three convolutions, each with a BatchNorm, and a linear layer."""

    def __init__(self):
        super().__init__()
        for place, (before, after) in enumerate([(1, 5), (5, 4), (4, 3)]):
            self.add_module(f"conv{place}", nn.Conv2d(before, after, 3, padding=1, bias=False))
            self.add_module(f"norm{place}", nn.BatchNorm2d(after))
            self.add_module(f"relu{place}", nn.ReLU(inplace=True))
        self.add_module("flatten", nn.Flatten())
        self.add_module("output", nn.Linear(3 * 64, 3))


# Network -> images, and for each layer that loses units which ones, and where it shows: at the layer that reads them,
# or behind the BatchNorm that has to do for its bias.
TOYS = {
    "conv": (
        ConvNetwork,
        (1, 8, 8),
        {"features.0": ([1], "features.4"), "features.4": ([0, 3], "fc"), "fc": ([2], "output")},
    ),
    "deep": (Deep, (1, 8, 8), {"conv0": ([0, 3], "norm1"), "conv1": ([2], "norm2"), "conv2": ([1], "output")}),
    "residual": (ResidualNetwork, (1, 8, 8), {"conv1": ([1, 3], "bn2")}),
    "lenet5": (
        lambda: build("lenet5", shape=(1, 28, 28), widths=[4, 6, 8, 5]),
        (1, 28, 28),
        {"conv1": ([3], "conv2"), "conv2": ([0, 4], "fc1"), "fc1": ([5], "fc2"), "fc2": ([0, 1], "output")},
    ),
}


def network(name, count=8):
    """A network of known weights, images, and units of several layers that can leave."""
    make, shape, readers = TOYS[name]
    return randomise(make()).eval(), images(count, shape), {layer: units for layer, (units, _) in readers.items()}


def removed_and_repaired(model, units, x, how):
    return repair(remove_units(model, units, x), model, units, x, how)


def at(model, name, x, outputs=True):
    """What a layer puts out, or takes in, in eval mode."""
    seen = []
    hook = model.get_submodule(name).register_forward_hook(
        lambda _, a, b: seen.append((b if outputs else a[0]).clone())
    )
    was = model.training
    with torch.no_grad():
        model.eval()(x)
    model.train(was)
    hook.remove()
    return seen[0]
