"""Small chains: fully connected, LeNet-5, and the Fashion-MNIST network of Ancona et al. 2020."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from shapprune.networks.tables import NONLINEARITIES


class MLP(nn.Module):
    """Two hidden fully connected layers, from images [N, C, H, W] to outputs [N, classes].

    Source: with LeakyReLU and widths of 2048, the untrained network of Ancona et al. 2020
    (https://arxiv.org/abs/2006.01795).
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        width: int,
        widths: list[int] | None,
        nonlinearity: str,
    ) -> None:
        super().__init__()
        first, second = widths or (width, width)
        self.fc1 = nn.Linear(math.prod(shape), first)
        self.act1 = getattr(nn, NONLINEARITIES[nonlinearity])()
        self.fc2 = nn.Linear(first, second)
        self.act2 = getattr(nn, NONLINEARITIES[nonlinearity])()
        self.output = nn.Linear(second, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Outputs before the softmax, [N, classes]."""
        hidden = self.act1(self.fc1(images.flatten(1)))
        return self.output(self.act2(self.fc2(hidden)))


class LeNet5(nn.Module):
    """Two 5x5 convolutions with pooling and two hidden dense layers, from images [N, C, H, W] to outputs [N, classes].

    Source: the sizes of the LeNet-5 of Adamczewski et al. 2024 (https://arxiv.org/abs/2407.15875), 40,165 parameters
    on 1x28x28 images. Here a ReLU follows the dense layers too; without it they would be one linear map.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int, widths: Sequence[int]) -> None:
        super().__init__()
        channels, *size = shape
        height, width = (((side - 4) // 2 - 4) // 2 for side in size)
        self.conv1 = nn.Conv2d(channels, widths[0], 5)
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(widths[0], widths[1], 5)
        self.relu2 = nn.ReLU()
        self.pool2 = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(widths[1] * height * width, widths[2])
        self.relu3 = nn.ReLU()
        self.fc2 = nn.Linear(widths[2], widths[3])
        self.relu4 = nn.ReLU()
        self.output = nn.Linear(widths[3], classes)

    def forward(self, images: Tensor) -> Tensor:
        """Outputs before the softmax, [N, classes]."""
        maps = self.pool1(self.relu1(self.conv1(images)))
        maps = self.pool2(self.relu2(self.conv2(maps)))
        hidden = self.relu3(self.fc1(maps.flatten(1)))
        return self.output(self.relu4(self.fc2(hidden)))


class FashionCNN(nn.Module):
    """Two convolutions with pooling and one wide dense layer, from images [N, C, H, W] to outputs [N, classes].

    Source: the Fashion-MNIST network of Ancona et al. 2020 (https://arxiv.org/abs/2006.01795), 4,192 units and
    16,849,994 parameters on 1x28x28 images. The authors' code declares a BatchNorm for each layer and never applies it.
    The published count contains their 8,384 parameters, so they are declared, and not applied, here too.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        channels, *size = shape
        height, width = ((side // 2 + 2) // 2 for side in size)
        self.conv1 = nn.Conv2d(channels, 32, 5, padding=2)
        self.bn1 = nn.BatchNorm2d(32)
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=2)
        self.bn2 = nn.BatchNorm2d(64)
        self.relu2 = nn.ReLU()
        self.pool2 = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(64 * height * width, 4096)
        self.bn3 = nn.BatchNorm1d(4096)
        self.relu3 = nn.ReLU()
        self.output = nn.Linear(4096, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Outputs before the softmax, [N, classes]."""
        maps = self.pool1(self.relu1(self.conv1(images)))
        maps = self.pool2(self.relu2(self.conv2(maps)))
        return self.output(self.relu3(self.fc1(maps.flatten(1))))
