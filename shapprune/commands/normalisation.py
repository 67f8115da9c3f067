"""Mean and standard deviation by which pixels become what a network takes."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from shapprune.core.errors import ShapPruneError

# Mean and standard deviation that most networks are trained with; for grey images the mean over the three colours.
IMAGENET = {3: ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), 1: ((0.449,), (0.226,))}


@dataclass(frozen=True)
class Normalisation:
    """What is done to the pixels of each channel.

    Attributes:
        mean: subtracted from each channel, on the scale 0 to 1; empty where images are taken as they are.
        std: what each channel is divided by then.
        origin: where these numbers come from, for people.
    """

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    origin: str = ""

    def apply(self, pixels: np.ndarray) -> Tensor:
        """Turn pixels, uint8 [n, C, H, W], into what a network takes, float32 of the same shape."""
        images = torch.from_numpy(pixels).float().div_(255)
        return images.sub_(_by_channel(self.mean)).div_(_by_channel(self.std))

    def __str__(self) -> str:
        if not self.mean:
            return "as they come"
        mean, std = (" ".join(f"{each:.4g}" for each in numbers) for numbers in (self.mean, self.std))
        return f"less {mean}, divided by {std} ({self.origin})"


def choose_normalisation(
    arguments: argparse.Namespace, stored: Mapping[str, Any], channels: int, own: Normalisation | None = None
) -> Normalisation:
    """Take the normalisation of the arguments, or else of the manifest, of the data set, of ImageNet.

    Args:
        arguments: ``mean`` and ``std`` of the command line.
        stored: what the manifest of the network says of its data.
        channels: of an image.
        own: of the data set.

    Raises:
        ShapPruneError: nothing gives it for so many channels, or it has another number of them, or a std of 0.
    """
    if arguments.mean:
        chosen = Normalisation(tuple(arguments.mean), tuple(arguments.std), "as given")
    elif stored.get("mean"):
        chosen = Normalisation(tuple(stored["mean"]), tuple(stored["std"]), "as the manifest of the network says")
    elif own is not None:
        chosen = own
    elif channels in IMAGENET:
        chosen = Normalisation(*IMAGENET[channels], "ImageNet's; others by --mean and --std")
    else:
        raise ShapPruneError(f"for images [C, H, W] of {channels} channels give --mean and --std")
    for name, numbers in (("mean", chosen.mean), ("std", chosen.std)):
        if len(numbers) != channels or not np.isfinite(numbers).all() or (name == "std" and min(numbers) <= 0):
            raise ShapPruneError(
                f"the {name} of images is {channels} finite numbers, one a channel{', above 0' * (name == 'std')}, not"
                f" {' '.join(map(str, numbers))}"
            )
    return chosen


def _by_channel(numbers: tuple[float, ...]) -> Tensor:
    return torch.tensor(numbers).view(-1, 1, 1)
