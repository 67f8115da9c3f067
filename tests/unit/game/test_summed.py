"""Both ways in: masked values and sums behind the next layer give the same values, gradients and walks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from shapprune import LayerGame, prunable_layers
from shapprune.game.masked import MaskedEntry
from shapprune.game.next_linear import next_linear
from shapprune.game.summed import SummedEntry
from shapprune.graph.unit_graph import UnitGraph
from shapprune.networks.builders import build
from tests.toys import ConvNetwork, ResidualNetwork, images, labels, randomise
from tests.unit.game.entries import close, coalitions, masked_only, orders, way_in
from tests.unit.shallow import shallow

# name -> network, image shape, and how many of its layers are entered behind the next one
NETWORKS = {
    "mlp": (lambda: build("mlp", width=12), (1, 28, 28), 2),
    "lenet5": (lambda: build("lenet5"), (1, 28, 28), 4),
    "vgg11_bn": (lambda: shallow("vgg11_bn"), (3, 32, 32), 7),
    "resnet20": (lambda: build("resnet20", shape=(3, 32, 32)), (3, 32, 32), 9),
    "mobilenet_v2": (lambda: shallow("mobilenet_v2"), (3, 32, 32), 9),
    "densenet121": (lambda: shallow("densenet121"), (3, 32, 32), 9),
    "toy": (ConvNetwork, (1, 8, 8), 3),
    "toy residual": (ResidualNetwork, (1, 8, 8), 1),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_sums_equal_masks(name):
    make, shape, count = NETWORKS[name]
    model = randomise(make())
    x, y = images(2, shape), labels(2, 3)
    names = [layer.name for layer in prunable_layers(model, x)]
    graph = UnitGraph(model, x)
    sites = [graph.past_pooling(graph.site(layer, "activation")) for layer in names]
    assert sum(next_linear(graph, site) is not None for site in sites) == count
    for layer in dict.fromkeys([names[0], names[len(names) // 2], names[-2 if len(names) > 1 else -1], names[-1]]):
        game, plain = LayerGame(model, layer, x, y), masked_only(model, layer, x, y)
        some = coalitions(6, game)
        close(game.value(some), plain.value(some))
        # A pre-activation next to zero may fall on the other side of a ReLU: the gradient jumps there.
        close(game.gate_gradient(some), plain.gate_gradient(some), atol=1e-3)
        order = orders(2, game, seed=5)
        walked = game.walk(order)
        close(walked, plain.walk(order))
        for draw, gone in ((0, 1), (1, game.units // 2), (1, game.units - 1)):
            kept = torch.ones(1, 2, game.units, dtype=torch.bool)
            kept[0].scatter_(1, order[draw, :, :gone], False)
            close(walked[draw, gone], plain.value(kept)[0])


class Strided(nn.Module):
    """A next convolution with stride, dilation, an uneven kernel and no bias, and average pooling before it."""

    def __init__(self):
        super().__init__()
        self.one = nn.Conv2d(1, 5, 3)
        self.two = nn.Conv2d(5, 4, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), bias=False)
        self.output = nn.Linear(4, 3)

    def forward(self, x):
        x = nn.functional.avg_pool2d(torch.tanh(self.one(x)), 2)
        return self.output(self.two(x).mean((2, 3)))


class Reflecting(Strided):
    def __init__(self):
        super().__init__()
        self.two = nn.Conv2d(5, 4, 3, padding=1, padding_mode="reflect")


class Viewing(nn.Module):
    """A view that only values with their channels first allow."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 5, 3), nn.Conv2d(5, 4, 3)
        self.output = nn.Linear(4 * 8 * 8, 3)

    def forward(self, x):
        x = self.two(torch.relu(self.one(x)))
        return self.output(x.view(x.size(0), -1))


def test_views_get_their_channels_first(capfd):
    x, y = images(3, (1, 12, 12)), labels(3)
    model = randomise(Viewing())
    game = LayerGame(model, "one", x, y)
    close(game.value(coalitions(5, game)), masked_only(model, "one", x, y).value(coalitions(5, game)))
    assert way_in(game) is SummedEntry
    assert not capfd.readouterr().err  # torch.fx prints the errors of what it traced


def test_any_convolution():
    x, y = images(4, (1, 12, 12)), labels(4)
    for model, kind in ((randomise(Strided()), SummedEntry), (randomise(Reflecting()), MaskedEntry)):
        game = LayerGame(model, "one", x, y)
        assert way_in(game) is kind
        some = coalitions(5, game)
        close(game.value(some), masked_only(model, "one", x, y).value(some))
