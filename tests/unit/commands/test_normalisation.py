"""Mean and standard deviation of images."""

from __future__ import annotations

import argparse

import numpy as np
import pytest
import torch

from shapprune import ShapPruneError
from shapprune.commands.normalisation import IMAGENET, Normalisation, choose_normalisation

STORED = {"mean": [0.2], "std": [0.1]}
OWN = Normalisation((0.4,), (0.3,), "of the data set")


def choose(*more, mean=None, std=None):
    return choose_normalisation(argparse.Namespace(mean=mean, std=std), *more)


def test_pixels_are_scaled_shifted_and_divided():
    pixels = np.array([[[[0, 255]], [[51, 102]]]], dtype=np.uint8)
    found = Normalisation((0.5, 0.2), (0.25, 0.1)).apply(pixels)
    torch.testing.assert_close(found, torch.tensor([[[[-2.0, 2.0]], [[0.0, 2.0]]]]))


def test_the_nearest_source_is_taken():
    assert choose(STORED, 1, OWN, mean=[0.1], std=[0.9]).mean == (0.1,)
    assert choose(STORED, 1, OWN).mean == (0.2,)
    assert choose({}, 1, OWN) == OWN
    assert choose({}, 3).mean == IMAGENET[3][0]


@pytest.mark.parametrize(
    ("channels", "given", "named"),
    [
        (2, {}, "2 channels"),
        (1, {"mean": [0.1, 0.2], "std": [1.0]}, "mean .*0.1 0.2"),
        (1, {"mean": [0.1], "std": [0.0]}, "std .*0.0"),
        (1, {"mean": [float("nan")], "std": [1.0]}, "mean of images is 1 finite numbers, one a channel, not nan"),
        (1, {"mean": [0.1], "std": [float("inf")]}, "std of images is 1 finite numbers, .* not inf"),
    ],
)
def test_what_does_not_fit_the_channels(channels, given, named):
    with pytest.raises(ShapPruneError, match=named):
        choose({}, channels, **given)
