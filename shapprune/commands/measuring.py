"""Loss and accuracy of a network on the images of a command, and whether the two fit."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from shapprune.commands.images import Part, UserImages
from shapprune.core.errors import ShapPruneError
from shapprune.networks.modes import mode
from shapprune.networks.training import evaluate

_AT_ONCE = 200  # images in memory


def measure(model: nn.Module, part: Part, places: np.ndarray) -> tuple[float, float]:
    """Measure mean cross-entropy and accuracy on the images of a part at these places; few are in memory at a time."""
    loss, correct = 0.0, 0
    for some in np.array_split(places, math.ceil(len(places) / _AT_ONCE)):
        some_loss, some_accuracy = evaluate(model, part.read(some), torch.from_numpy(part.labels[some]))
        loss, correct = loss + some_loss * len(some), correct + round(some_accuracy * len(some))
    return loss / len(places), correct / len(places)


def check_fit(model: nn.Module, example: Tensor, images: UserImages) -> int:
    """Raise unless a network takes the images and has an output for each label.

    Args:
        model: the network.
        example: some of the images, [N, ...].
        images: all of them.

    Returns:
        How many outputs the network has.

    Raises:
        ShapPruneError: it fails on the images, returns no row of numbers for each, or has fewer outputs than classes.
    """
    with torch.inference_mode(), mode(model, training=False):
        try:
            outputs = model(example)
        except (RuntimeError, ValueError, TypeError) as error:
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise ShapPruneError(
                f"the network fails on images {list(images.shape)} of {images.name}: {reason}"
            ) from error
    if not isinstance(outputs, Tensor) or outputs.dim() != 2:
        found = list(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise ShapPruneError(f"the network returns {found}, a row of one number a class is needed for each image")
    highest = max(int(part.labels.max()) for part in (images.scoring, images.evaluation))
    if highest >= outputs.shape[1]:
        raise ShapPruneError(
            f"{images.name} has labels up to {highest}, but the network has {outputs.shape[1]} outputs, for the labels"
            f" 0 ... {outputs.shape[1] - 1}"
        )
    return outputs.shape[1]
