"""How good a network is on images or sequences."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from shapprune.networks.batches import in_batches
from shapprune.networks.losses import cross_entropies, hits, logits_of, require_labels
from shapprune.networks.modes import mode

# Numbers in the images, and tokens in the sequences, that are evaluated at a time.
_NUMBERS, _TOKENS = 2**22, 2**12


def evaluate(model: nn.Module, images: Tensor, labels: Tensor, batch: int | None = None) -> tuple[float, float]:
    """Mean cross-entropy and accuracy of a network in eval mode; its mode is restored.

    Those of a sequence are means over its labels that count.

    Args:
        model: as for `shapprune.networks.training.fit`.
        images: float [N, C, H, W] or int64 [N, T], on any device.
        labels: int64 [N] or [N, T], as there.
        batch: images at a time; by default up to 500, fewer of large ones and of sequences.

    Examples:
        >>> import torch
        >>> from shapprune.networks.evaluation import evaluate
        >>> loss, accuracy = evaluate(torch.nn.Identity(), torch.tensor([[0.0, 9.0], [9.0, 0.0]]), torch.tensor([1, 1]))
        >>> round(loss, 3), accuracy
        (4.5, 0.5)
    """
    device = next((each.device for each in model.parameters()), images.device)
    loss = torch.zeros((), dtype=torch.float64)
    correct = torch.zeros((), dtype=torch.float64)
    require_labels(images, labels)
    batch = batch or max(2, min(500, (_NUMBERS if images.is_floating_point() else _TOKENS) // images[0].numel()))
    with mode(model, training=False), torch.inference_mode():
        for some, truth in zip(in_batches(images, batch), in_batches(labels, batch), strict=True):
            outputs, truth = logits_of(model(some.to(device))), truth.to(device)
            loss += cross_entropies(outputs, truth).double().sum().cpu()
            correct += hits(outputs, truth).double().sum().cpu()
    return float(loss) / len(images), float(correct) / len(images)
