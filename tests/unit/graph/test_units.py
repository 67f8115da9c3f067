"""Units given by their indices, wherever users give them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from shapprune import LayerGame, ShapPruneError, remove_units
from shapprune.graph.units import read_units
from shapprune.pruning.removal import mask_units
from tests.toys import ConvNetwork, images, labels, randomise

GOOD = [[4, 1], (1, 4), {1, 4}, np.array([4, 1], np.uint8), torch.tensor([1, 4]), range(1, 5, 3), [np.int64(4), 1]]
BAD = {
    "mask": ([True, False, True, False, False, False], "a mask of True and False"),
    "mask as a tensor": (torch.tensor([True] * 6), "a mask of True and False"),
    "numbers with a point": ([1.0, 4.0], "numbers with a point"),
    "names": (["a"], "something else"),
    "two axes": (torch.tensor([[1], [4]]), "2 axes"),
    "negative": ([-1], r"has units 0 \.\.\. 5, not \[-1\]"),
    "too large": ([6], r"has units 0 \.\.\. 5, not \[6\]"),
    "twice": ([4, 1, 4], "unit 4 of layer 'features.4' is given more than once"),
}


@pytest.mark.parametrize("units", GOOD, ids=lambda each: type(each).__name__)
def test_whole_numbers_of_any_kind(units):
    assert read_units(units, 6, "conv") == [1, 4]


def test_none_at_all():
    assert read_units([], 6, "conv") == read_units(torch.tensor([]), 6, "conv") == []


@pytest.mark.parametrize(("units", "message"), BAD.values(), ids=BAD)
def test_whatever_else_is_given_is_said(units, message):
    model, x = randomise(ConvNetwork()), images(2)
    game = LayerGame(model, "features.4", x, labels(2))
    for use in (
        lambda: remove_units(model, {"features.4": units}, x),
        lambda: mask_units(model, {"features.4": units}, x),
        lambda: game.without(units),
    ):
        with pytest.raises(ShapPruneError, match=message):
            use()
