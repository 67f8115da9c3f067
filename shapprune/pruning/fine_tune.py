"""Training a pruned network again, with many or few images.

Source: the supplement of Ancona et al. 2020 asks with how much data criteria no longer differ.
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import Tensor, nn

from shapprune.networks.evaluation import evaluate
from shapprune.networks.recipe import Recipe
from shapprune.networks.training import best_epoch, fit


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
    """Train a copy of a network until it no longer improves on images that were held back.

    Args:
        model: a network, from images [N, C, H, W] to outputs before the softmax; it is left as it is.
        images: float [N, C, H, W]; with none of them nothing is trained.
        labels: int64 [N].
        validation_images: float [M, C, H, W], by which the best epoch is chosen.
        validation_labels: int64 [M].
        recipe: how to train; its ``patience`` ends training early.
        seed: of the order of images, their augmentation, and dropout.
        device: where to train.
        checkpoint: as for `shapprune.networks.training.fit`.

    Returns:
        The copy, in the model's modes, with the weights of the best epoch; and the number of that epoch, 0 where the
        weights from before are the best.
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
        start=start,
    )
    return tuned, best_epoch(rows, start)
