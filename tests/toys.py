"""Small networks and games with known answers, shared by the tests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from shapprune.game.cost import Cost
from shapprune.game.protocol import Game


class ConvNetwork(nn.Module):
    """conv - norm - relu - pool - conv - norm - relu - pool - linear - linear, small."""

    def __init__(self, channels: tuple[int, int] = (4, 6), hidden: int = 8, classes: int = 3, inplace: bool = True):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, channels[0], 3, padding=1),
            nn.BatchNorm2d(channels[0]),
            nn.ReLU(inplace=inplace),
            nn.MaxPool2d(2),
            nn.Conv2d(channels[0], channels[1], 3, padding=1),
            nn.BatchNorm2d(channels[1]),
            nn.ReLU(inplace=inplace),
            nn.MaxPool2d(2),
        )
        self.fc = nn.Linear(channels[1] * 4, hidden)
        self.drop = nn.Dropout(0.5)
        self.output = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        x = x.view(x.size(0), -1)
        return self.output(self.drop(torch.relu(self.fc(x))))


class ResidualNetwork(nn.Module):
    """A stem, one residual block and a linear output."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.conv1 = nn.Conv2d(4, 5, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(5)
        self.conv2 = nn.Conv2d(5, 4, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.output = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.stem(x))
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        y += x
        return self.output(self.relu(y).mean((2, 3)))


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Weights and BatchNorm statistics from a generator that is the same in every release of torch."""
    random = np.random.default_rng(seed)
    with torch.no_grad():
        for name, value in [*model.named_parameters(), *model.named_buffers()]:
            if value.dtype.is_floating_point:
                numbers = torch.from_numpy(random.normal(size=tuple(value.shape))).to(value.dtype)
                if name.endswith("running_var"):
                    value.copy_(0.5 + numbers.abs())
                elif value.dim() > 1:
                    value.copy_(numbers / max(1, value[0].numel()) ** 0.5)
                else:
                    value.copy_(0.5 * numbers + (1.0 if "weight" in name else 0.0))
    return model


def images(count: int, shape: tuple[int, ...] = (1, 8, 8), seed: int = 1) -> Tensor:
    """Random images."""
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(count, *shape))).float()


def labels(count: int, classes: int = 3, seed: int = 2) -> Tensor:
    """Random labels."""
    return torch.from_numpy(np.random.default_rng(seed).integers(0, classes, size=count))


class SqueezingNetwork(nn.Module):
    """conv - pool - squeeze - linear: it takes the axis of a single image away, as many a network of one's own."""

    def __init__(self):
        super().__init__()
        self.conv, self.pool, self.out = nn.Conv2d(2, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.pool(self.conv(x)).squeeze())


class HandGame(Game):
    """A game given by a function, without a network.

    Args:
        units: n.
        worth: of masks as numbers, float64 [C, N, n] -> float64 [C, N].
        examples: how many, N.
    """

    def __init__(self, units: int, worth: Callable[[Tensor], Tensor], examples: int = 1):
        self.units, self.layer, self._worth = units, "by hand", worth
        self.examples, self.device = np.arange(examples), torch.device("cpu")
        self._cost = Cost()

    @property
    def evaluations(self) -> float:
        return self._cost.evaluations

    def value(self, coalitions: Tensor | np.ndarray) -> Tensor:
        masks = torch.as_tensor(coalitions).double()
        self._cost.add(len(masks))
        return self._worth(masks if masks.dim() == 3 else masks[:, None].expand(-1, len(self), -1))

    def identity(self) -> list[object]:
        return [self.layer, self.units, self._worth]


def sequences(count: int) -> tuple[Tensor, Tensor]:
    """Runs of the numbers 0 to 4 and on from 0 again, and what is to follow each."""
    numbers = (torch.arange(7) + torch.arange(count)[:, None]) % 5
    return numbers[:, :-1], numbers[:, 1:]


class Follows(nn.Module):
    """Puts out what is to follow each token by a table, beside another output."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(5, 5)

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        return {"hidden": tokens, "logits": self.table(tokens)}
