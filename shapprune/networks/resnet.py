"""The CIFAR ResNets of He et al. 2016 (https://arxiv.org/abs/1512.03385, section 4.2), shortcut A.

Module names are those of the public checkpoints of https://github.com/akamaster/pytorch_resnet_cifar10, which load into
these networks as they are.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class Shortcut(nn.Module):
    """Shortcut A: every second pixel, and channels of zeros, half of them before and half behind; no weights."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.before = (outputs - channels) // 2
        self.behind = outputs - channels - self.before

    def forward(self, maps: Tensor) -> Tensor:
        """Maps [N, channels, H, W] to [N, outputs, ceil(H/2), ceil(W/2)]."""
        return F.pad(maps[:, :, ::2, ::2], (0, 0, 0, 0, self.before, self.behind))


class Block(nn.Module):
    """Two 3x3 convolutions, and around them the identity or, where the size changes, `Shortcut`."""

    def __init__(self, channels: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity() if stride == 1 else Shortcut(channels, outputs)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps [N, channels, H, W] to [N, outputs, H/stride, W/stride]."""
        inner = F.relu(self.bn1(self.conv1(maps)))
        return F.relu(self.bn2(self.conv2(inner)) + self.shortcut(maps))


class ResNet(nn.Module):
    """A first convolution, three stages of blocks with 16, 32 and 64 channels, a global mean and a linear layer."""

    def __init__(self, blocks: int, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(shape[0], 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, blocks, stride=1)
        self.layer2 = _stage(16, 32, blocks, stride=2)
        self.layer3 = _stage(32, 64, blocks, stride=2)
        self.linear = nn.Linear(64, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, C, H, W] to outputs before the softmax, [N, classes]."""
        maps = F.relu(self.bn1(self.conv1(images)))
        maps = self.layer3(self.layer2(self.layer1(maps)))
        return self.linear(maps.mean((2, 3)))


def resnet20(shape: tuple[int, int, int], classes: int) -> ResNet:
    """ResNet-20: nine blocks; 269,722 parameters on CIFAR-10."""
    return ResNet(3, shape, classes)


def resnet32(shape: tuple[int, int, int], classes: int) -> ResNet:
    """ResNet-32: 15 blocks; 464,154 parameters on CIFAR-10."""
    return ResNet(5, shape, classes)


def resnet44(shape: tuple[int, int, int], classes: int) -> ResNet:
    """ResNet-44: 21 blocks; 658,586 parameters on CIFAR-10."""
    return ResNet(7, shape, classes)


def resnet56(shape: tuple[int, int, int], classes: int) -> ResNet:
    """ResNet-56: 27 blocks; 853,018 parameters on CIFAR-10."""
    return ResNet(9, shape, classes)


def _stage(channels: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
    rest = [Block(outputs, outputs, 1) for _ in range(blocks - 1)]
    return nn.Sequential(Block(channels, outputs, stride), *rest)
