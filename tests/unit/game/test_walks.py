"""Walks along removal orders: null players, and calls of any size."""

from __future__ import annotations

import pytest
import torch

from shapprune import LayerGame, shapley
from shapprune.game import engine, summed
from shapprune.game.batching import Batching
from shapprune.game.masked import MaskedEntry
from shapprune.game.summed import ScannedWalks, SummedEntry
from shapprune.game.tail import make_ready
from shapprune.game.walks import active_first
from shapprune.networks.builders import build
from tests.toys import ConvNetwork, images, labels, randomise
from tests.unit.game.entries import close, masked_only, orders, watched, way_in


def test_active_units_leave_first_and_in_their_order():
    active = torch.tensor([[True, False, True, False], [True, True, True, True]])
    leaving, gone = active_first(torch.tensor([[[3, 2, 1, 0], [3, 2, 1, 0]]]), active)
    assert leaving.tolist() == [[[2, 0, 3, 1], [3, 2, 1, 0]]]
    assert gone.tolist() == [[[0, 0, 1, 1, 2], [0, 1, 2, 3, 4]]]


def test_null_players_are_not_run():
    model = randomise(ConvNetwork())
    with torch.no_grad():
        model.features[5].bias[2:5] = -100.0  # channels 2, 3 and 4 never fire
    g = LayerGame(model, "features.4", images(4), labels(4))
    assert not g.active_units[:, 2:5].any()
    assert way_in(g) is SummedEntry
    order = torch.tensor([3, 0, 2, 5, 4, 1]).expand(1, 4, 6)
    with watched() as calls:
        walked = g.walk(order)
    assert sum(rows for kind, rows in calls if kind is SummedEntry) == int((g.active_units.sum(1) - 1).clamp(0).sum())
    assert torch.equal(walked[0, 1], g.full)  # unit 3 left first, and nothing happened
    close(walked, masked_only(model, "features.4", images(4), labels(4)).walk(order))
    s = shapley.permutation(g, permutations=3)
    assert s.values[:, 2:5].abs().max() == 0
    assert s.evaluations == 3 * 5 + 0  # both ends were valued in the walk above


def test_dead_layer():
    model = randomise(ConvNetwork())
    with torch.no_grad():
        model.features[5].bias[:] = -100.0
    g = LayerGame(model, "features.4", images(3), labels(3))
    assert shapley.permutation(g, permutations=2).values.abs().max() == 0


@pytest.mark.parametrize("layer", ["conv1", "conv2", "fc1", "fc2"])
@pytest.mark.parametrize("how", ["masked", "summed", "as on CUDA"])
@pytest.mark.parametrize("limit", [1, 7, 40, 10**6])
def test_calls_of_any_size(layer, how, limit, monkeypatch):
    if how == "as on CUDA":
        monkeypatch.setattr(engine, "make_ready", lambda cut, shapes, _: make_ready(cut, shapes, cuda=True))
        monkeypatch.setattr(summed, "SteppedWalks", ScannedWalks)
    model = randomise(build("lenet5"))
    with torch.no_grad():
        model.conv1.bias[3:9] = model.fc1.bias[10:60] = -1.0  # walks of many lengths
    x, y = images(5, (1, 28, 28)), labels(5, 10)
    expected = masked_only(model, layer, x, y)
    game = masked_only(model, layer, x, y) if how == "masked" else LayerGame(model, layer, x, y)
    assert way_in(game) is (MaskedEntry if how == "masked" else SummedEntry)
    some = orders(2, game)
    monkeypatch.setattr(Batching, "rows", lambda self, entry: limit)
    for depth in (None, 3):
        with watched() as calls:
            walked = game.walk(some, depth)
        assert max(rows for _, rows in calls) <= limit
        kept = torch.ones(1, 5, game.units, dtype=torch.bool)
        for gone in range(walked.shape[1]):
            if gone in (0, 1, 2, 3, game.units // 2, game.units):
                close(walked[1, gone], expected.value(kept.scatter(2, some[1:, :, :gone], False))[0])
    close(game.without([0, 2]).walk(some), expected.without([0, 2]).walk(some))
