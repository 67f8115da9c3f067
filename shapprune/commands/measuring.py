"""Loss and accuracy of a network on the images of a command, and whether the two fit."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from shapprune.commands.parts import LabelledPart, UserImages
from shapprune.core.errors import ShapPruneError, few, first_line
from shapprune.networks.evaluation import evaluate
from shapprune.networks.losses import logits_of
from shapprune.networks.modes import mode

_AT_ONCE = 200  # images in memory


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Images that networks are compared on.

    Attributes:
        part: the images.
        places: of those that are looked at.
    """

    part: LabelledPart
    places: np.ndarray

    def measure(self, model: nn.Module) -> dict[str, float]:
        """Measure mean cross-entropy, ``loss``, and ``accuracy``; few images are in memory at a time.

        Raises:
            ShapPruneError: the loss is not finite.
        """
        loss, correct = 0.0, 0.0
        for some in np.array_split(self.places, math.ceil(len(self.places) / _AT_ONCE)):
            labels = torch.from_numpy(self.part.labels[some])
            some_loss, some_accuracy = evaluate(model, self.part.read(some), labels)
            loss, correct = loss + some_loss * len(some), correct + round(some_accuracy * len(some), 9)
        if not math.isfinite(loss):
            raise ShapPruneError(
                f"the loss of the network on {len(self.places)} images is {loss}: its weights, its outputs or the"
                " images hold numbers that are not finite"
            )
        return {"loss": loss / len(self.places), "accuracy": correct / len(self.places)}


def open_evaluation(data: UserImages, arguments: argparse.Namespace) -> Evaluation | None:
    """Draw the images that loss and accuracy are measured on; None where there are no classes.

    Raises:
        ShapPruneError: there are not as many as were asked for.
    """
    if data.evaluation is None:
        if arguments.evaluate is not None:
            raise data.classes_missing("--evaluate", "give --evaluate-on with such folders")
        return None
    return Evaluation(data.evaluation, data.draw("evaluation", arguments.evaluate, arguments.seed))


def measure_before(evaluation: Evaluation, model: nn.Module) -> dict[str, float]:
    """Measure the network before it is pruned, which also finds an image that cannot be read, and print a line."""
    before = evaluation.measure(model)
    count = len(evaluation.places)
    print(f"before: loss {before['loss']:.4f}, accuracy {before['accuracy']:.4f} on {count} images", flush=True)
    return before


def check_fit(model: nn.Module, example: Tensor, images: UserImages) -> int:
    """Raise unless a network takes the images and, where they have classes, has an output for each.

    Args:
        model: the network.
        example: some of the images, [N, ...].
        images: all of them.

    Returns:
        How many outputs the network has.

    Raises:
        ShapPruneError: it fails on the images, returns no numbers for each, for classes no row of numbers for each, it
            puts out nan, has fewer outputs than classes, or more than folders of classes tell of.
    """
    with torch.inference_mode(), mode(model, training=False):
        try:
            outputs = logits_of(model(example))
        except (RuntimeError, ValueError, TypeError) as error:
            raise ShapPruneError(
                f"the network fails on images {list(images.shape)} of {images.name}: {first_line(error)}"
            ) from error
    labels = [part.labels for part in (images.scoring, images.evaluation) if isinstance(part, LabelledPart)]
    if not isinstance(outputs, Tensor) or outputs.dim() < 2 or (labels and outputs.dim() != 1 + labels[0].ndim):
        found = list(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise ShapPruneError(f"the network returns {found}, a row of one number a class is needed for each label")
    if outputs.isnan().any():
        raise ShapPruneError(
            f"the network puts out nan for the first images of {images.name}; look at its weights and the images"
        )
    classes = outputs.shape[-1 if labels else 1]
    highest = max((int(each.max()) for each in labels), default=0)
    if highest >= classes:
        raise ShapPruneError(
            f"{images.name} has labels up to {highest}, but the network has {classes} outputs, for the labels"
            f" 0 ... {classes - 1}"
        )
    if images.classes and len(images.classes) < classes:
        raise ShapPruneError(
            f"{images.name} has {len(images.classes)} classes ({few(images.classes)}), but the network has"
            f" {classes} outputs, and nothing says which of them these are: give folders of all its classes,"
            " a package.module:function that returns images and labels, or, to calibrate, images without folders"
        )
    return classes
