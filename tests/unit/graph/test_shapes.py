"""What operations do to units does not follow from sizes that coincide."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from shapprune import LayerGame, prunable_layers, remove_units
from shapprune.pruning.removal import mask_units
from tests.toys import labels

SIDE = 6  # images, channels, height and width: all the same


class Square(nn.Module):
    """Something between layers whose maps are as high and wide as they have channels."""

    def __init__(self, between, dimensions=4, inputs=None):
        super().__init__()
        self.between = between
        conv = nn.Conv2d if dimensions == 4 else nn.Conv1d
        self.one = conv(SIDE, SIDE, 1) if dimensions > 2 else nn.Linear(SIDE, SIDE)
        self.out = nn.Linear(inputs or SIDE ** (dimensions - 1), 3)

    def forward(self, x):
        return self.out(self.between(torch.relu(self.one(x))).flatten(1))


# What is done -> the number of axes there, and whether units stay where they are.
KINDS = {
    "mean of positions": (lambda x: x.mean((2, 3)), 4, True),
    "mean of columns": (lambda x: torch.mean(x, dim=-1), 4, True),
    "mean of rows, kept": (lambda x: x.mean(2, keepdim=True), 4, True),
    "means one after the other": (lambda x: x.mean(3).amax(2), 4, True),
    "largest of positions": (lambda x: x.amax(dim=(-1, -2)), 4, True),
    "mean of channels": (lambda x: x.mean(1), 4, False),
    "mean of channels, by name": (lambda x: torch.mean(x, dim=1), 4, False),
    "mean of channels from behind": (lambda x: x.mean(-3), 4, False),
    "mean of channels and rows": (lambda x: x.mean((1, 2)), 4, False),
    "largest channel": (lambda x: x.amax(1), 4, False),
    "mean of images": (lambda x: x.mean(0), 4, False),
    "largest of units": (lambda x: F.max_pool1d(x, 3, stride=1, padding=1), 2, False),
    "mean of units": (nn.AvgPool1d(3, stride=1, padding=1), 2, False),
    "pooling of positions": (nn.AvgPool1d(3, stride=1, padding=1), 3, True),
    "pooling over channels and positions": (nn.AvgPool2d(3, stride=1, padding=1), 3, False),
    "function over channels and positions": (lambda x: F.avg_pool2d(x, 3, stride=1, padding=1), 3, False),
    "pooling of maps": (nn.MaxPool2d(3, stride=1, padding=1), 4, True),
    "function on maps": (lambda x: F.max_pool2d(x, 3, stride=1, padding=1), 4, True),
    "flattened units": (nn.Flatten(), 4, True),
    "flattened positions": (nn.Flatten(2), 4, False),
    "a row of units": (lambda x: x.transpose(1, 2), 4, False),
    "dropout": (nn.Dropout1d(), 2, True),
}


@pytest.mark.parametrize(("between", "dimensions", "stays"), KINDS.values(), ids=KINDS)
def test_sizes_that_coincide_decide_nothing(between, dimensions, stays):
    x = torch.rand(SIDE, *[SIDE] * (dimensions - 1), generator=torch.Generator().manual_seed(0))
    inputs = between(x).flatten(1).shape[1]
    torch.manual_seed(0)
    model = Square(between, dimensions, inputs).eval()
    (layer,) = prunable_layers(model, x, coupled=True)
    if not stays:
        assert layer.group == ()
        assert "its units go on into" in layer.coupled
        return
    small = remove_units(model, {"one": [1, 2]}, x)
    torch.testing.assert_close(small(x), mask_units(model, {"one": [1, 2]}, x), atol=1e-6, rtol=1e-5)
    game = LayerGame(model, "one", x, labels(SIDE), payoff=lambda outputs, _: outputs[:, 0])
    kept = torch.tensor([[unit not in (1, 2) for unit in range(SIDE)]])
    torch.testing.assert_close(game.value(kept)[0], small(x)[:, 0], atol=1e-6, rtol=1e-5)


def test_images_without_a_channel_are_not_taken_for_units():
    model = nn.Sequential(nn.Conv2d(SIDE, SIDE, 1), nn.Flatten(), nn.Linear(SIDE * SIDE, 3))
    (layer,) = [each for each in prunable_layers(model, torch.rand(SIDE, SIDE, SIDE), coupled=True) if each.name == "0"]
    assert (layer.site, layer.group) == (None, ())
    assert "only [images, units, positions, positions] is supported" in layer.coupled
