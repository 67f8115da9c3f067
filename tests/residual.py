"""Small residual networks, shared by the tests."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Bottleneck(nn.Module):
    """Two convolutions beside a shortcut, a convolution where the size changes, and a ReLU in place behind the sum."""

    def __init__(self, channels: int, outputs: int, stride: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        same = stride == 1 and channels == outputs
        self.downsample = (
            None if same else nn.Sequential(nn.Conv2d(channels, outputs, 1, stride), nn.BatchNorm2d(outputs))
        )

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += identity
        return self.relu(out)


class SmallResNet(nn.Module):
    """A stem, three blocks, of which the second halves the size, and a linear output."""

    def __init__(self, classes: int = 3):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(inplace=True))
        self.blocks = nn.Sequential(Bottleneck(4, 4), Bottleneck(4, 6, 2), Bottleneck(6, 6))
        self.output = nn.Linear(6, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.blocks(self.stem(x)).mean((2, 3)))


class Layer(nn.Module):
    """A transformer layer: attention and neurons, each added to what goes in."""

    def __init__(self, width: int = 8):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 12), nn.GELU(), nn.Dropout(0.1), nn.Linear(12, width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        y, _ = self.attention(y, y, y, need_weights=False)
        x = x + y
        return x + self.mlp(self.norm2(x))


class Parallel(nn.Module):
    """Attention and neurons beside each other on the same normalised values, both added to what goes in."""

    def __init__(self, width: int = 8):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.mix = nn.Sequential(nn.Linear(width, width), nn.Tanh())
        self.mlp = nn.Sequential(nn.Linear(width, 12), nn.GELU(), nn.Linear(12, width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        mixed, bent = self.mix(y), self.mlp(y)
        return x + mixed + bent


class SmallTransformer(nn.Module):
    """Patches with positions, transformer layers, and the mean of the tokens; layers of any kind."""

    def __init__(self, layers: int = 2, kind: type[nn.Module] = Layer, classes: int = 3):
        super().__init__()
        self.patches = nn.Conv2d(1, 8, 4, 4)
        self.positions = nn.Parameter(torch.randn(1, 4, 8))
        self.layers = nn.ModuleList(kind() for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.positions
        for layer in self.layers:
            tokens = layer(tokens)
        return self.head(self.norm(tokens).mean(1))


class Nested(nn.Module):
    """A branch inside a branch: the inner one is part of what the outer one adds."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.inner, self.leave = nn.Conv2d(1, 3, 1), nn.Conv2d(3, 3, 1), nn.Conv2d(3, 1, 1)
        self.outer, self.output = nn.Conv2d(1, 1, 1), nn.Linear(64, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.outer(x))
        y = self.enter(x)
        y = F.relu(y + self.inner(y))
        return self.output((x + self.leave(y)).flatten(1))
