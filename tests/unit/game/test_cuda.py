"""The engine on a CUDA device: the scores of the CPU, without waiting for the device inside a walk."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from shapprune import LayerGame, shapley
from shapprune.game import layer_game as game
from shapprune.game.walks import walk_rows
from shapprune.networks.builders import build
from tests.toys import ConvNetwork, ResidualNetwork, images, labels, randomise

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]

CASES = {
    "lenet5": (lambda: build("lenet5"), (1, 28, 28), ["conv1", "conv2", "fc1", "fc2"]),
    "vgg16": (lambda: build("vgg16", shape=(3, 32, 32)), (3, 32, 32), ["features.7", "features.40", "classifier.4"]),
    "resnet20": (lambda: build("resnet20", shape=(3, 32, 32)), (3, 32, 32), ["layer2.0.conv1"]),
    "toy": (ConvNetwork, (1, 8, 8), ["features.0", "features.4"]),
    "toy residual": (ResidualNetwork, (1, 8, 8), ["stem", "conv1"]),
}


def calmest(model, layers, x, y):
    """The images, those first whose values change least if weights change in digits that tf32 does not have.

    A gradient jumps where an activation is at its kink. A small network shows it, and no precision is right there.
    """
    random, moved = torch.Generator().manual_seed(0), torch.zeros(len(x))
    before = [shapley.coalition_gradient(LayerGame(model, layer, x, y), points=4).values for layer in layers]
    for _ in range(8):
        other = copy.deepcopy(model)
        with torch.no_grad():
            for each in other.parameters():
                each.mul_(1 + (torch.rand(each.shape, generator=random) - 0.5) / 2**7)
        for layer, values in zip(layers, before, strict=True):
            found = shapley.coalition_gradient(LayerGame(other, layer, x, y), points=4).values
            moved = moved.maximum((found - values).abs().amax(1))
    return moved.argsort()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("tf32", 2e-2), ("bf16", 1e-1)])
def test_cuda_scores_as_the_cpu_does(name, precision, tolerance):
    make, shape, layers = CASES[name]
    model, (x, y) = randomise(make()), (images(24, shape), labels(24, 3))
    some = calmest(model, layers, x, y)[:6] if name.startswith("toy") else slice(6)
    x, y = x[some], y[some]
    for layer in layers:
        expected = LayerGame(model, layer, x, y, precision="fp32")
        on_cpu = shapley.permutation(expected, permutations=2), shapley.coalition_gradient(expected, points=4)
        found = LayerGame(model.cuda(), layer, x, y, precision=precision)
        on_cuda = shapley.permutation(found, permutations=2), shapley.coalition_gradient(found, points=4)
        model.cpu()
        scale = float(expected.full.abs().max())
        for one, other in zip(on_cuda, on_cpu, strict=True):
            assert one.values.is_cuda
            torch.testing.assert_close(one.values.cpu(), other.values, atol=tolerance * max(1.0, scale), rtol=1e-3)
        assert (on_cuda[0].values.sum(1) - (found.full - found.empty)).abs().max() < 1e-3 * max(1.0, scale)


@pytest.mark.parametrize("name", CASES)
def test_walks_do_not_wait_for_the_device(name, monkeypatch):
    make, shape, layers = CASES[name]
    model = randomise(make()).cuda()

    def strict(*given):
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield from walk_rows(*given)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(game, "walk_rows", strict)
    for layer in layers:
        played = LayerGame(model, layer, images(4, shape), labels(4, 3))
        orders = np.random.default_rng(0).permuted(np.tile(np.arange(played.units), (2, 4, 1)), axis=2)
        assert torch.isfinite(played.walk(torch.from_numpy(orders))).all()
