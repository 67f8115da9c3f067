"""Networks of few parameters, whose Hessians can be written down, and weights to quantise."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from shapprune.game.payoffs import minus_loss
from tests.toys import ConvNetwork, randomise


def minus_output(outputs, labels):
    """The outputs of `Quadratic` are losses."""
    return -outputs[:, 0]


class Quadratic(nn.Module):
    """Puts out theta' A theta / 2 + x theta for each x; A is any symmetric matrix, theta a matrix and a vector."""

    def __init__(self, rows: int, columns: int, seed: int = 0):
        super().__init__()
        random = np.random.default_rng(seed)
        size = rows * (columns + 1)
        square = torch.from_numpy(random.normal(size=(size, size)))
        self.register_buffer("A", square + square.T)
        self.fc = nn.Linear(columns, rows).double()
        with torch.no_grad():
            for each in self.fc.parameters():
                each.copy_(torch.from_numpy(random.normal(size=tuple(each.shape))))

    def forward(self, x: Tensor) -> Tensor:
        theta = torch.cat([self.fc.weight.flatten(), self.fc.bias])
        return (theta @ self.A @ theta / 2 + x @ theta)[:, None]


def flat(values: dict[str, Tensor]) -> Tensor:
    """All numbers of some parameters side by side."""
    return torch.cat([each.flatten() for each in values.values()])


def small_network() -> nn.Module:
    """Two layers with curvature between them, in float64."""
    return randomise(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3))).double()


def examples(count: int = 5) -> tuple[Tensor, Tensor]:
    """Inputs and labels for the small network."""
    random = np.random.default_rng(1)
    return torch.from_numpy(random.normal(size=(count, 3))), torch.from_numpy(random.integers(0, 3, size=count))


def flat_loss(model: nn.Module, inputs: Tensor, labels: Tensor):
    """The mean loss as a function of all parameters side by side, and these."""
    shapes = {name: each.shape for name, each in model.named_parameters()}
    theta = flat(dict(model.named_parameters())).detach()

    def loss(theta: Tensor) -> Tensor:
        parts = theta.split([shape.numel() for shape in shapes.values()])
        weights = {name: part.view(shape) for part, (name, shape) in zip(parts, shapes.items(), strict=True)}
        return -minus_loss(torch.func.functional_call(model, weights, (inputs,)), labels).mean()

    return loss, theta


def gradients_of_examples(model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    """The gradient of each example's loss in all parameters side by side, [N, M], by a loop of backward passes."""
    found = []
    for one, label in zip(inputs, labels, strict=True):
        model.zero_grad()
        nn.functional.cross_entropy(model(one[None]), label[None]).backward()
        found.append(flat({name: each.grad for name, each in model.named_parameters()}))
    model.zero_grad(set_to_none=True)
    return torch.stack(found)


# Of the parameters of the small network, side by side, the block of each: rows of 4 x 3, 4, 3 x 4 and 3.
BLOCKS = {
    "parameter": list(range(31)),
    "row": [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3 + [0, 1, 2, 3] + [4] * 4 + [5] * 4 + [6] * 4 + [4, 5, 6],
    "matrix": [0] * 12 + [1] * 4 + [2] * 12 + [3] * 3,
    "layer": [0] * 16 + [1] * 15,
    "whole": [0] * 31,
}


def cut(matrix: Tensor, block: str) -> Tensor:
    """A matrix [31, 31] with zeros between blocks."""
    places = torch.tensor(BLOCKS[block])
    return matrix * (places[:, None] == places)


# Those of `network` that have weights to quantise.
LAYERS = ["features.0", "features.4", "fc", "output"]


def network() -> nn.Module:
    """A small convolutional network in eval mode."""
    return randomise(ConvNetwork()).eval()


def drawn(rows: int = 6, columns: int = 40, seed: int = 0) -> tuple[Tensor, Tensor]:
    """A weight and the Hessian of inputs that go together."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(rows, columns, generator=generator)
    inputs = torch.randn(200, columns, generator=generator) @ torch.randn(columns, columns, generator=generator)
    return weight, 2 * inputs.T @ inputs / 200
