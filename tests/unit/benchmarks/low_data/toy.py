"""A network of the benchmark that is small, and methods of all kinds for it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

import shapprune
from benchmarks.low_data.networks import Network
from shapprune.networks.builders import build
from shapprune.networks.randomness import seeded

CALLS: list[str] = []  # the methods that were called, in turn


def network(name: str = "mlp", development: bool = False) -> Network:
    """A perceptron on the digits of scikit-learn: 64, 256, 256 and 10 neurons."""
    return Network(name, "digits", "mlp.pth", "made by the tests", development=development)


def write_weights(folder: Path) -> Path:
    """Weights of it that are the same each time, in a folder."""
    with seeded(0):
        torch.save(build("mlp", (1, 8, 8), 10).state_dict(), folder / "mlp.pth")
    return folder


def cut(model: nn.Module, images: Tensor, budget: float) -> nn.Module:
    """The first units of both layers leave."""
    CALLS.append("cut")
    gone = int(256 * (1 - budget))
    return shapprune.remove_units(model, {name: list(range(gone)) for name in ("fc1", "fc2")}, images[:2])


def cut_too_little(model: nn.Module, images: Tensor, budget: float) -> nn.Module:
    """A single unit leaves."""
    CALLS.append("cut_too_little")
    return shapprune.remove_units(model, {"fc1": [0]}, images[:2])


def same(model: nn.Module, images: Tensor, budget: float) -> nn.Module:
    """Nothing leaves."""
    return model


def other_classes(model: nn.Module, images: Tensor, budget: float) -> nn.Module:
    """Puts out nine numbers an image."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 9))


def nothing(model: nn.Module, images: Tensor, budget: float) -> None:
    """Returns no network."""


def not_finite(model: nn.Module, images: Tensor, budget: float) -> nn.Module:
    """Puts out NaN."""
    small = cut(model, images, budget)
    small.get_parameter("output.bias").data.fill_(torch.nan)
    return small


def fails(model: nn.Module, images: Tensor, budget: float) -> nn.Module:
    """Raises an error."""
    CALLS.append("fails")
    raise ValueError("no idea")


def changes_what_it_is_given(model: nn.Module, images: Tensor, budget: float) -> nn.Module:
    """Works in place, which does no harm."""
    for each in model.parameters():
        each.data.zero_()
    images.zero_()
    return cut(model, images, budget)


class ByLabels:
    """Looks at labels, draws at random, promises something, and does once what budgets share."""

    def __init__(self, model: nn.Module, images: Tensor, *, labels: Tensor, seed: int):
        CALLS.append("ByLabels")
        self.model, self.images = model, images
        assert len(labels) == len(images)
        self.first = int(torch.randint(256, ())) + seed

    def __call__(self, budget: float) -> Promise:
        """A network with a promise."""
        return Promise(cut(self.model, self.images, budget))


class Promise:
    """What `shapprune.prune` returns, in short."""

    def __init__(self, model: nn.Module):
        self.model, self.agreement = model, (0.5, 0.4, 0.6)


class Spoils:
    """Changes the network that its other budgets start from."""

    def __init__(self, model: nn.Module, images: Tensor):
        self.model, self.images = model, images

    def __call__(self, budget: float) -> nn.Module:
        """A network, and the one it came from is not what it was."""
        small = cut(self.model, self.images, budget)
        self.model.get_parameter("fc1.bias").data.add_(1)
        return small
