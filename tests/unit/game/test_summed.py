"""Both ways in: masked values and sums behind the next layer give the same values, gradients and walks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from shapprune import LayerGame, prunable_layers, shapley
from shapprune.data.vision import torchvision
from shapprune.game import engine
from shapprune.game.engine import Entry, _SummedWalks
from shapprune.game.tail import make_ready
from shapprune.graph.unit_graph import UnitGraph
from shapprune.networks.builders import build
from tests.toys import ConvNetwork, ResidualNetwork, images, labels, randomise

# name -> network, image shape, and how many of its layers are entered behind the next one
NETWORKS = {
    "mlp": (lambda: build("mlp", width=12), (1, 28, 28), 2),
    "lenet5": (lambda: build("lenet5"), (1, 28, 28), 4),
    "vgg16": (lambda: build("vgg16", shape=(3, 32, 32)), (3, 32, 32), 15),
    "resnet20": (lambda: build("resnet20", shape=(3, 32, 32)), (3, 32, 32), 9),
    "mobilenet_v2": (lambda: torchvision.models.mobilenet_v2(num_classes=10), (3, 32, 32), 20),
    "densenet121": (lambda: torchvision.models.densenet121(num_classes=10), (3, 32, 32), 58),
    "toy": (ConvNetwork, (1, 8, 8), 3),
    "toy residual": (ResidualNetwork, (1, 8, 8), 1),
}


def masked_only(game):
    """The same game, entered by masking alone."""
    game._summed = None
    return game


def coalitions(count, game):
    return torch.from_numpy(np.random.default_rng(3).random((count, len(game), game.units)) < 0.6)


def close(found, expected, atol=1e-5):
    # Sums of float32 in another order: errors of 1e-6 of the largest value, and five times that over a deep network.
    scale = float(expected.abs().max())
    torch.testing.assert_close(found, expected, atol=atol * max(1.0, scale), rtol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_sums_equal_masks(name):
    make, shape, count = NETWORKS[name]
    model = randomise(make())
    x, y = images(3, shape), labels(3, 3)
    names = [layer.name for layer in prunable_layers(model, x)]
    graph = UnitGraph(model, x)
    sites = [graph.past_pooling(graph.site(layer, "activation")) for layer in names]
    assert sum(graph.next_linear(site) is not None for site in sites) == count
    for layer in dict.fromkeys([names[0], names[len(names) // 2], names[-2 if len(names) > 1 else -1], names[-1]]):
        game, plain = LayerGame(model, layer, x, y), masked_only(LayerGame(model, layer, x, y))
        some = coalitions(6, game)
        close(game.value(some), plain.value(some))
        # A pre-activation next to zero may fall on the other side of a ReLU: the gradient jumps there.
        close(game.gate_gradient(some), plain.gate_gradient(some), atol=1e-3)
        order = torch.from_numpy(np.random.default_rng(5).permuted(np.tile(np.arange(game.units), (2, 3, 1)), axis=2))
        walked = game.walk(order)
        close(walked, plain.walk(order))
        for draw, gone in ((0, 1), (1, game.units // 2), (1, game.units - 1)):
            kept = torch.ones(1, 3, game.units, dtype=torch.bool)
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
    close(game.value(coalitions(5, game)), masked_only(LayerGame(model, "one", x, y)).value(coalitions(5, game)))
    assert game._summed is not None
    assert not capfd.readouterr().err  # torch.fx prints the errors of what it traced


def test_any_convolution():
    x, y = images(4, (1, 12, 12)), labels(4)
    for model, summed in ((randomise(Strided()), True), (randomise(Reflecting()), False)):
        game = LayerGame(model, "one", x, y)
        assert (game._summed is not None) == summed
        some = coalitions(5, game)
        close(game.value(some), masked_only(LayerGame(model, "one", x, y)).value(some))


def test_null_players_are_not_run():
    model = randomise(ConvNetwork())
    with torch.no_grad():
        model.features[5].bias[2:5] = -100.0  # channels 2, 3 and 4 never fire
    g = LayerGame(model, "features.4", images(4), labels(4))
    assert not g.active_units[:, 2:5].any()
    rows = []
    run = g._summed.run
    g._summed.run = lambda entering, examples: (rows.append(len(entering)), run(entering, examples))[1]
    order = torch.tensor([3, 0, 2, 5, 4, 1]).expand(1, 4, 6)
    walked = g.walk(order)
    assert sum(rows) == int((g.active_units.sum(1) - 1).clamp(min=0).sum())
    assert torch.equal(walked[0, 1], g.full)  # unit 3 left first, and nothing happened
    close(walked, masked_only(LayerGame(model, "features.4", images(4), labels(4))).walk(order))
    s = shapley.permutation(g, permutations=3)
    assert s.values[:, 2:5].abs().max() == 0
    assert s.evaluations == 3 * 5 + 0  # both ends were valued in the walk above


def test_dead_layer():
    model = randomise(ConvNetwork())
    with torch.no_grad():
        model.features[5].bias[:] = -100.0
    g = LayerGame(model, "features.4", images(3), labels(3))
    assert shapley.permutation(g, permutations=2).values.abs().max() == 0


def test_out_of_memory_halves_the_calls(monkeypatch):
    g = LayerGame(randomise(ConvNetwork()), "features.4", images(5), labels(5), memory_mb=1)
    some = coalitions(7, g)
    expected, before, run = g.value(some), g._bytes, g._summed.run

    def scarce(entering, examples):
        if g._bytes > before // 8:
            raise torch.OutOfMemoryError("none left")
        return run(entering, examples)

    monkeypatch.setattr(g._summed, "run", scarce)
    close(g.value(some), expected)
    assert g._bytes == before // 8
    monkeypatch.setattr(g._summed, "run", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("never enough")))
    with pytest.raises(torch.OutOfMemoryError):
        g.value(some)


@pytest.mark.parametrize("layer", ["conv1", "conv2", "fc1", "fc2"])
@pytest.mark.parametrize("how", ["masked", "summed", "as on CUDA"])
@pytest.mark.parametrize("limit", [1, 7, 40, 10**6])
def test_calls_of_any_size(layer, how, limit, monkeypatch):
    if how == "as on CUDA":
        monkeypatch.setattr(engine, "make_ready", lambda cut, shapes, _: make_ready(cut, shapes, cuda=True))
        monkeypatch.setattr(_SummedWalks, "rows", lambda self, *given: self._shaped(self._scanned(*given)))
    model = randomise(build("lenet5"))
    with torch.no_grad():
        model.conv1.bias[3:9] = model.fc1.bias[10:60] = -1.0  # walks of many lengths
    x, y = images(5, (1, 28, 28)), labels(5, 10)
    expected = masked_only(LayerGame(model, layer, x, y))
    game = LayerGame(model, layer, x, y)
    assert how == "masked" or game._summed is not None
    game = masked_only(game) if how == "masked" else game
    orders = torch.from_numpy(np.random.default_rng(1).permuted(np.tile(np.arange(game.units), (2, 5, 1)), axis=2))
    sizes, run = [], Entry.run
    monkeypatch.setattr(Entry, "run", lambda self, rows, some: (sizes.append(len(rows)), run(self, rows, some))[1])
    monkeypatch.setattr(LayerGame, "_rows", lambda self, entry: limit)
    for depth in (None, 3):
        sizes.clear()
        walked = game.walk(orders, depth)
        assert max(sizes) <= limit
        kept = torch.ones(1, 5, game.units, dtype=torch.bool)
        for gone in range(walked.shape[1]):
            if gone in (0, 1, 2, 3, game.units // 2, game.units):
                close(walked[1, gone], expected.value(kept.scatter(2, orders[1:, :, :gone], False))[0])
    reduced = game.without([0, 2])
    close(reduced.walk(orders), masked_only(expected.without([0, 2])).walk(orders))


@pytest.mark.parametrize("memory_mb", [0, 1, 64])
def test_memory_changes_no_result(memory_mb):
    model = randomise(build("lenet5"))
    x, y = images(6, (1, 28, 28)), labels(6, 10)
    whole = shapley.permutation(LayerGame(model, "conv2", x, y), permutations=2).values
    close(shapley.permutation(LayerGame(model, "conv2", x, y, memory_mb=memory_mb), permutations=2).values, whole)
