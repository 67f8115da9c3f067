"""How many channels the images of a network have."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from shapprune.commands.channels import channels_taken, find_channels
from shapprune.networks.builders import build


class Prepares(nn.Module):
    """A network that does something to its images before its first layer."""

    def __init__(self, channels, prepare):
        super().__init__()
        self.head = nn.Linear(5, 3)  # made before the layer that runs first
        self.register_buffer("mean", torch.rand(3, 1, 1))
        self.stem = nn.Conv2d(channels, 5, 3)
        self.prepare = prepare

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.stem(self.prepare(self, x))).mean((2, 3)))


class Functional(nn.Module):
    """A network whose first layer is a parameter of its own."""

    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(4, channels, 3, 3))
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(nn.functional.conv2d(x, self.weight).mean((2, 3)))


NETWORKS = {
    "means of three colours": (Prepares(3, lambda self, x: x - self.mean), 3),
    "plain colour": (Prepares(3, lambda self, x: x), 3),
    "plain grey": (Prepares(1, lambda self, x: 2 * x), 1),
    "repeats a grey image": (Prepares(3, lambda self, x: x.repeat(1, 3, 1, 1)), 1),
    "parametrized": (nn.Sequential(weight_norm(nn.Conv2d(3, 4, 3)), nn.Flatten(), nn.LazyLinear(2)), 3),
    "grouped": (nn.Sequential(nn.Conv2d(3, 6, 3, groups=3), nn.Flatten()), 3),
    "linear": (nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 9, 4)), 3),
    "linear on grey": (nn.Sequential(nn.Flatten(), nn.Linear(8 * 9, 4)), 1),
    "a parameter": (Functional(3), 3),
    "a parameter for grey": (Functional(1), 1),
    "images of another size": (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(7, 2)), 3),
    "nothing to see": (nn.Flatten(), None),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_what_runs_first_decides(name):
    model, channels = NETWORKS[name]
    shapes = {
        each: tensor.shape for each, tensor in model.state_dict().items() if "Uninit" not in type(tensor).__name__
    }
    assert find_channels(model, (8, 9), shapes) == channels


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("architecture", ["mlp", "lenet5", "resnet20"])
def test_networks_by_name_are_known_by_their_file(architecture, channels):
    shapes = {each: tensor.shape for each, tensor in build(architecture, (channels, 32, 32)).state_dict().items()}
    assert channels_taken(build(architecture, (3, 32, 32)), 3, (32, 32), shapes) == channels
