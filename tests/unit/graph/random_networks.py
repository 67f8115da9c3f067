"""Small random networks from a grammar, for the tests of what can be removed: a number is a network."""

from __future__ import annotations

import random

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.toys import randomise

SHAPE = (2, 8, 8)
CLASSES = 3
FUNCTIONS = (torch.relu, F.gelu, F.silu, torch.tanh, torch.sigmoid, F.leaky_relu, F.softplus, lambda x: x * 0.5)


class Function(nn.Module):
    """A function where a module is wanted; torch.fx sees the function."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Sum(nn.Module):
    """A residual sum, by an operator, in place or of a function."""

    def __init__(self, one, other, how):
        super().__init__()
        self.one, self.other, self.how = one, other, how

    def forward(self, x: Tensor) -> Tensor:
        one, other = self.one(x), self.other(x)
        if self.how == "in place":
            one = one * 1
            one += other
            return one
        return {"+": one + other, "add": torch.add(one, other), "-": one - other}[self.how]


class Product(nn.Module):
    """A branch times another, as in gated linear units."""

    def __init__(self, one, other):
        super().__init__()
        self.one, self.other = one, other

    def forward(self, x: Tensor) -> Tensor:
        return self.one(x) * self.other(x)


class Join(nn.Module):
    """Branches side by side."""

    def __init__(self, *branches):
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


class Gate(nn.Module):
    """Squeeze-and-excitation, by linear layers or convolutions of one position, of means or also of largest numbers."""

    def __init__(self, channels, hidden, linear, scale, largest):
        super().__init__()
        self.linear, self.scale, self.largest = linear, scale, largest
        self.one = nn.Linear(channels, hidden) if linear else nn.Conv2d(channels, hidden, 1)
        self.two = nn.Linear(hidden, channels) if linear else nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.excite(F.adaptive_avg_pool2d(x, 1))
        if self.largest:
            gate = gate + self.excite(F.adaptive_max_pool2d(x, 1))
        return x * self.scale(gate)

    def excite(self, seen: Tensor) -> Tensor:
        b, c = seen.size(0), seen.size(1)
        if self.linear:
            return self.two(F.relu(self.one(seen.view(b, c)))).view(b, c, 1, 1)
        return self.two(F.relu(self.one(seen)))


class PositionNorm(nn.LayerNorm):
    """A LayerNorm over the channels of each position, as networks of patches have it."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2).contiguous()


class Reordered(nn.Module):
    """Channels in another order, or positions in another shape."""

    def __init__(self, how):
        super().__init__()
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        if self.how == "shuffled":
            return x.view(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, c, h, w)
        if self.how == "chunks":
            one, other = x.chunk(2, 1)
            return torch.cat([other, one], 1)
        if self.how == "there and back":
            return x.reshape(b, c, h * w).view(b, c, h, w)
        if self.how == "turned":
            return x.flatten(2).transpose(1, 2).reshape(b, c, h, w)
        if self.how == "flipped":
            return x.flip(1)
        return torch.cat([x, x], 1)[:, :c]


class Network(nn.Module):
    """A body, a way to features, and one or more heads."""

    def __init__(self, body, neck, heads, how):
        super().__init__()
        self.body, self.neck, self.heads, self.how = body, neck, nn.ModuleList(heads), how

    def forward(self, x: Tensor):
        x = self.neck(self.body(x))
        outputs = [head(x) for head in self.heads]
        if self.how == "dict":
            return dict(zip("abc", outputs, strict=False))
        return {"one": outputs[0], "tuple": tuple(outputs), "sum": sum(outputs[1:], outputs[0])}[self.how]


def network(seed: int) -> nn.Module:
    """The network of a number, in a random mode, some of its parameters frozen."""
    draws = random.Random(seed)
    channels, parts = SHAPE[0], []
    for _ in range(draws.randint(1, 4)):
        part, channels = draws.choice(PARTS)(draws, channels)
        parts.append(part)
    body = nn.Sequential(*parts)
    flat = draws.random() < 0.5
    pool = draws.choice((nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d))(2 if flat else 1)
    neck = nn.Sequential(pool, draws.choice((nn.Flatten(), Function(lambda x: x.view(x.size(0), -1)))))
    features = channels * (4 if flat else 1)
    how = draws.choice(("one", "one", "one", "sum", "tuple", "dict"))
    heads = [head(draws, features) for _ in range(1 if how == "one" else draws.randint(2, 3))]
    model = randomise(Network(body, neck, heads, how), seed)
    for parameter in model.parameters():
        parameter.requires_grad_(draws.random() < 0.8)
    return model.train(draws.random() < 0.3)


def head(draws: random.Random, features: int) -> nn.Module:
    if draws.random() < 0.4:
        return nn.Linear(features, CLASSES)
    hidden = draws.randint(2, 6)
    norm = draws.choice((nn.Identity(), nn.BatchNorm1d(hidden), nn.LayerNorm(hidden)))
    first = nn.Linear(features, hidden, bias=draws.random() < 0.7)
    return nn.Sequential(first, norm, activation(draws), nn.Dropout(0.2), nn.Linear(hidden, CLASSES))


def activation(draws: random.Random) -> nn.Module:
    modules = (nn.ReLU(), nn.ReLU(inplace=True), nn.Sigmoid(), nn.Hardswish(), nn.ELU(), nn.Identity())
    return draws.choice((*modules, *map(Function, FUNCTIONS)))


def norm(draws: random.Random, channels: int) -> nn.Module:
    across = (nn.GroupNorm(1, channels), nn.GroupNorm(channels, channels), PositionNorm(channels))
    kinds = (*[nn.BatchNorm2d(channels)] * 3, nn.BatchNorm2d(channels, affine=False), nn.InstanceNorm2d(channels))
    return draws.choice((*kinds, draws.choice(across), nn.Identity()))


def plain(draws: random.Random, channels: int, width: int | None = None, same: bool = False) -> tuple[nn.Module, int]:
    """A convolution with what follows one."""
    width = width or draws.randint(2, 7)
    size, dilation = draws.choice((1, 3)), draws.choice((1, 1, 2))
    stride = 1 if same else draws.choice((1, 1, 2))
    mode, bias = draws.choice(("zeros", "zeros", "circular")), draws.random() < 0.6
    padding = dilation * (size // 2)
    conv = nn.Conv2d(channels, width, size, stride, padding, dilation, bias=bias, padding_mode=mode)
    pool = nn.Identity() if same else draws.choice((nn.Identity(), nn.MaxPool2d(3, 1, 1), nn.AvgPool2d(2, 1, 1)))
    parts = [conv, norm(draws, width), activation(draws)]
    if draws.random() < 0.2:
        parts.reverse()  # as in networks that normalise first
        parts = [norm(draws, channels), activation(draws), conv]
    return nn.Sequential(*parts, pool), width


def grouped(draws: random.Random, channels: int) -> tuple[nn.Module, int]:
    """A depthwise or a grouped convolution between two plain ones."""
    one, width = plain(draws, channels, draws.choice((4, 6)), same=True)
    middle = nn.Conv2d(width, width, 3, padding=1, groups=draws.choice((2, width)), bias=draws.random() < 0.5)
    two, last = plain(draws, width)
    return nn.Sequential(one, middle, norm(draws, width), activation(draws), two), last


def residual(draws: random.Random, channels: int) -> tuple[nn.Module, int]:
    width = draws.randint(2, 6)
    one, _ = plain(draws, channels, width, same=True)
    two, _ = plain(draws, draws.choice((width,)), channels, same=True)
    shortcut, _ = plain(draws, channels, channels, same=True)
    other = nn.Identity() if draws.random() < 0.6 else shortcut
    return Sum(nn.Sequential(one, two), other, draws.choice(("in place", "+", "add", "-"))), channels


def joined(draws: random.Random, channels: int) -> tuple[nn.Module, int]:
    pairs = [plain(draws, channels, same=True) for _ in range(draws.randint(1, 3))]
    if draws.random() < 0.4:
        pairs.append((nn.Identity(), channels))  # as in dense networks
    draws.shuffle(pairs)
    return Join(*(branch for branch, _ in pairs)), sum(width for _, width in pairs)


def gated(draws: random.Random, channels: int) -> tuple[nn.Module, int]:
    one, width = plain(draws, channels)
    scale = draws.choice((torch.sigmoid, F.hardsigmoid))
    gate = Gate(width, draws.randint(1, 4), draws.random() < 0.5, scale, draws.random() < 0.3)
    return nn.Sequential(one, gate), width


def multiplied(draws: random.Random, channels: int) -> tuple[nn.Module, int]:
    one, width = plain(draws, channels, same=True)
    other, _ = plain(draws, channels, width, same=True)
    product = Product(one, nn.Sequential(other, draws.choice((nn.Sigmoid(), nn.Identity()))))
    if width == channels and draws.random() < 0.7:
        return Sum(product, nn.Identity(), "+"), width
    return product, width


def reordered(draws: random.Random, channels: int) -> tuple[nn.Module, int]:
    one, width = plain(draws, channels, draws.choice((4, 6)))
    how = draws.choice(("shuffled", "module", "chunks", "there and back", "turned", "flipped", "twice"))
    return nn.Sequential(one, nn.ChannelShuffle(2) if how == "module" else Reordered(how)), width


def repeated(draws: random.Random, channels: int) -> tuple[nn.Module, int]:
    """One convolution that is used twice."""
    shared, width = nn.Conv2d(channels, channels, 3, padding=1), channels
    return nn.Sequential(shared, activation(draws), shared, activation(draws)), width


PARTS = (
    *(plain, plain, plain, plain, grouped, residual, residual, joined, joined),
    *(gated, multiplied, repeated, reordered),
)
