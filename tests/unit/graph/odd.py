"""Small networks with an oddity each, for the tests of what can be removed."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

SIDE = (1, 8, 8)


class Net(nn.Module):
    """Two convolutions and two linear layers; subclasses change what lies between."""

    def __init__(self, conv=nn.Conv2d, linear=nn.Linear):
        super().__init__()
        self.one, self.two = conv(1, 6, 3), conv(6, 5, 3)
        self.three, self.out = linear(5 * 4, 7), linear(7, 3)

    def forward(self, x):
        return self.head(torch.relu(self.two(self.between(torch.relu(self.one(x))))))

    def between(self, x):
        return x

    def head(self, x):
        x = torch.flatten(F.max_pool2d(x, 2), 1)
        return self.out(torch.relu(self.three(x)))


class FixedView(Net):
    def head(self, x):
        return self.out(torch.relu(self.three(F.max_pool2d(x, 2).view(-1, 5 * 2 * 2))))


class Shuffled(Net):
    def between(self, x):
        return x.view(x.size(0), 2, 3, 6, 6).transpose(1, 2).flatten(1, 2)


class ShuffledLast(Net):
    """Shuffled where Torch-Pruning itself would fail, behind layers that lose units."""

    def __init__(self):
        super().__init__()
        self.two, self.last = nn.Conv2d(6, 6, 3), nn.Conv2d(6, 5, 1)

    def head(self, x):
        count, channels, height, width = x.size()
        x = x.view(count, 2, channels // 2, height, width).transpose(1, 2).contiguous().view(count, -1, height, width)
        return super().head(torch.relu(self.last(x)))


class Chunked(Net):
    def between(self, x):
        one, other = x.chunk(2, 1)
        return torch.cat([other, one], 1)


class JoinedImages(Net):
    """The images lie beside the units of a layer, as in a dense network."""

    def __init__(self):
        super().__init__()
        self.two = nn.Conv2d(7, 5, 3)

    def forward(self, x):
        one = torch.relu(self.one(x))
        return self.head(torch.relu(self.two(torch.cat([one, F.avg_pool2d(x, 3, 1)], 1))))


class Tokens(Net):
    """A linear layer on tokens, of which the output is the mean."""

    def __init__(self):
        super().__init__()
        self.three, self.out = nn.Linear(5, 7), nn.Linear(7, 3)

    def head(self, x):
        return self.out(self.three(x.flatten(2).transpose(1, 2)).mean(1))


class Twice(Net):
    """Its first layer is plain; two further ones are one and the same."""

    def __init__(self):
        super().__init__()
        self.two = nn.Conv2d(6, 6, 3, padding=1)
        self.three = nn.Linear(6 * 9, 7)

    def between(self, x):
        return self.two(x)


class Branches(Net):
    """A second layer beside the first; subclasses say how both come together."""

    def __init__(self, joined=12):
        super().__init__()
        self.other, self.two = nn.Conv2d(1, 6, 3), nn.Conv2d(joined, 5, 3)

    def forward(self, x):
        return self.head(torch.relu(self.two(self.join(self.one(x), self.other(x)))))


class SharedNorm(Branches):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(6)

    def join(self, one, other):
        return torch.cat([torch.relu(self.norm(one)), torch.relu(self.norm(other))], 1)


class SharedPReLU(Branches):
    def __init__(self):
        super().__init__()
        self.slopes = nn.PReLU(6)

    def join(self, one, other):
        return torch.cat([self.slopes(one), self.slopes(other)], 1)


class SharedReader(Branches):
    """One layer reads what two others put out, one after the other."""

    def __init__(self):
        super().__init__(6)
        self.shared = nn.Conv2d(6, 6, 1)

    def join(self, one, other):
        return torch.relu(self.shared(torch.relu(one))) + torch.relu(self.shared(torch.relu(other)))


class SharedGate(Branches):
    """The gates of two values come from one layer."""

    def __init__(self):
        super().__init__()
        self.gate = nn.Conv2d(6, 6, 1)

    def join(self, one, other):
        return torch.cat([x * torch.sigmoid(self.gate(F.adaptive_avg_pool2d(x, 1))) for x in (one, other)], 1)


class SumOfJoined(Branches):
    """The units of two layers, side by side, are added to those of a third, as in networks of two paths."""

    def __init__(self):
        super().__init__()
        self.deep = nn.Conv2d(12, 12, 1)

    def join(self, one, other):
        x = torch.cat([torch.relu(one), torch.relu(other)], 1)
        return x + self.deep(x)


class BesideItself(Branches):
    def __init__(self):
        super().__init__(18)

    def join(self, one, other):
        return torch.cat([one, one, other], 1)


class Product(Branches):
    """Two layers are multiplied with each other, as in gated linear units."""

    def __init__(self):
        super().__init__(6)

    def join(self, one, other):
        return one * torch.sigmoid(other)


class SumOfProduct(Product):
    """A product beside a shortcut."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 6, 1)
        self.one, self.other = nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 6, 1)

    def forward(self, x):
        x = torch.relu(self.first(F.avg_pool2d(x, 3, 1)))
        one, other = self.one(x), self.other(x)
        return self.head(torch.relu(self.two(x + self.join(other, one))))  # the other way round


class ProductWithSum(Product):
    """A factor is the sum of two layers."""

    def __init__(self):
        super().__init__()
        self.more = nn.Conv2d(1, 6, 3)

    def forward(self, x):
        return self.head(torch.relu(self.two(self.join(self.one(x), self.other(x) + self.more(x)))))


class SumOfFeatures(Branches):
    """The features of two layers, without positions, are added."""

    def __init__(self):
        super().__init__()
        self.three = nn.Linear(6, 7)
        del self.two

    def forward(self, x):
        one, other = (F.adaptive_avg_pool2d(torch.relu(layer(x)), 1).flatten(1) for layer in (self.one, self.other))
        return self.out(torch.relu(self.three(one + other)))


class SumOfFlattened(SumOfFeatures):
    """The same with their positions side by side."""

    def __init__(self):
        super().__init__()
        self.three = nn.Linear(216, 7)

    def forward(self, x):
        return self.out(torch.relu(self.three(self.one(x).flatten(1) + self.other(x).flatten(1))))


class Filtered(Branches):
    """A depthwise convolution without a bias leaves a zero where it is, also beside another reader."""

    def __init__(self):
        super().__init__(6)
        self.filter = nn.Conv2d(6, 6, 3, padding=1, groups=6, bias=False)
        self.other = nn.Conv2d(6, 6, 1)

    def forward(self, x):
        x = torch.relu(self.one(x))
        return self.head(torch.relu(self.two(self.filter(x) + self.other(x))))


class FilteredWithBias(Filtered):
    def __init__(self):
        super().__init__()
        self.filter = nn.Conv2d(6, 6, 3, padding=1, groups=6)


class TwoPools(Net):
    """A gate from the means and the largest numbers of maps, by the same layers, as in CBAM."""

    def __init__(self):
        super().__init__()
        self.gate = nn.Sequential(nn.Conv2d(6, 4, 1), nn.ReLU(), nn.Conv2d(4, 6, 1))

    def between(self, x):
        return x * torch.sigmoid(self.gate(F.adaptive_avg_pool2d(x, 1)) + self.gate(F.adaptive_max_pool2d(x, 1)))


class LinearGate(Net):
    """Squeeze-and-excitation by linear layers."""

    def __init__(self):
        super().__init__()
        self.small, self.large = nn.Linear(6, 4), nn.Linear(4, 6)

    def between(self, x):
        count, channels = x.size(0), x.size(1)
        gate = self.large(torch.relu(self.small(x.mean((2, 3)))))
        return x * torch.sigmoid(gate).view(count, channels, 1, 1)


class Inside(Net):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 1, batch_first=True)

    def head(self, x):
        x = F.max_pool2d(x, 2).flatten(2)
        return super().head(
            self.attention(x, x, x)[0].reshape(-1, 5, 2, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
        )


class Renamed(nn.Conv2d):
    """Nothing but another name, as many libraries have."""


class Standardised(nn.Conv2d):
    def forward(self, x):
        return self._conv_forward(x, self.weight - self.weight.mean(), self.bias)


class Half(nn.Linear):
    """A linear layer with one more argument."""

    def __init__(self, inputs, outputs, scale=0.5):
        super().__init__(inputs, outputs)
        self.scale = scale

    def forward(self, x):
        return super().forward(x) * self.scale
