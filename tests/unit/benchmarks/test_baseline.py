"""The baseline of the benchmarks gives the engine's scores for the same orders."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.baseline import walk_one_by_one
from shapprune import LayerGame, shapley
from shapprune.networks.builders import build
from tests.toys import ConvNetwork, ResidualNetwork, images, labels, randomise


@pytest.mark.parametrize(
    ("make", "layer", "shape"),
    [
        (ConvNetwork, "features.0", (1, 8, 8)),
        (ResidualNetwork, "conv1", (1, 8, 8)),
        (ResidualNetwork, "conv2", (1, 8, 8)),
        (lambda: build("lenet5"), "conv2", (1, 28, 28)),
        (lambda: build("lenet5"), "fc2", (1, 28, 28)),
    ],
)
def test_same_orders_same_scores(make, layer, shape):
    model = randomise(make())
    x, y = images(7, shape), labels(7)
    game = LayerGame(model, layer, x, y)
    orders = np.stack([np.random.default_rng(draw).permutation(game.units) for draw in range(2)])
    expected = walk_one_by_one(model, layer, x, y, orders, batch=3)
    found = shapley.permutation(game, orders=orders).values
    # Losses of about 1 in float32, whose rounding is 1e-7; the differences are of sums in another order.
    np.testing.assert_allclose(found, expected, atol=1e-6)
