"""Training a pruned network again with as many images as there are.

Source: the supplement of Ancona et al. 2020 asks how much data it takes until criteria no longer differ.
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import Tensor, nn

from shapprune.networks.recipe import Recipe
from shapprune.networks.training import best_epoch, evaluate, fit


def fine_tune(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    validation_images: Tensor,
    validation_labels: Tensor,
    recipe: Recipe,
    seed: int = 0,
    device: str | torch.device = "cpu",
    checkpoint: Path | None = None,
) -> tuple[nn.Module, int]:
    """A copy of a network, trained until images that were held back say that it gets no better.

    Args:
        model: a network, from images [N, C, H, W] to outputs before the softmax; it is left as it is.
        images: float [N, C, H, W]; without any nothing is trained.
        labels: int64 [N].
        validation_images: float [M, C, H, W], which decide what epoch is taken.
        validation_labels: int64 [M].
        recipe: how to train; ``patience`` ends it early.
        seed: of the order of images, their augmentation, and dropout.
        device: where to train.
        checkpoint: as for `shapprune.networks.training.fit`.

    Returns:
        The copy, with the weights of the best epoch or its own, in the model's modes; and the number of that epoch.
    """
    tuned = copy.deepcopy(model).to(device)
    if not len(images):
        return tuned, 0
    start = evaluate(tuned, validation_images, validation_labels)
    rows = fit(
        tuned,
        images,
        labels,
        validation_images,
        validation_labels,
        recipe,
        seed,
        device,
        checkpoint=checkpoint,
        keep_start=True,
    )
    return tuned, best_epoch(rows, start)
