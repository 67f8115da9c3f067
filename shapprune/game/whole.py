"""Payoffs that compare with the outputs of the intact network, so that they need no labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from shapprune.networks.losses import logits_of


def divergences(whole: Tensor, outputs: Tensor, classes: int = -1) -> Tensor:
    """The Kullback-Leibler divergences of outputs from those of the intact network, in nats.

    Args:
        whole: outputs of the intact network before any softmax, float.
        outputs: as many.
        classes: the axis of the classes; the result has the others.
    """
    one, other = F.log_softmax(whole, classes), F.log_softmax(outputs, classes)
    return (one.exp() * (one - other)).sum(classes)


def minus_divergence(outputs: Any, whole: Any) -> Tensor:
    """Minus the Kullback-Leibler divergence of each example's outputs from those of the intact network, float [N].

    Args:
        outputs: of the network before any softmax, float [N, classes], or of sequences [N, T, classes], whose mean over
            positions counts; where there are more, `shapprune.networks.losses.logits_of` finds them.
        whole: those of the intact network.

    Examples:
        >>> import torch
        >>> from shapprune.game.whole import minus_divergence
        >>> outputs = torch.tensor([[0.0, 1.0], [2.0, 0.0]])
        >>> minus_divergence(outputs, outputs).tolist(), (minus_divergence(-outputs, outputs) < -0.4).all().item()
        ([-0.0, -0.0], True)
    """
    outputs = logits_of(outputs)
    return -divergences(logits_of(whole), outputs).reshape(len(outputs), -1).mean(1)


def agreement(outputs: Any, whole: Any) -> Tensor:
    """1 if the intact network has the same largest output, else 0, float [N]; arguments as for `minus_divergence`."""
    outputs = logits_of(outputs)
    same = outputs.argmax(-1) == logits_of(whole).argmax(-1)
    return same.to(outputs.dtype).reshape(len(outputs), -1).mean(1)


WITHOUT_LABELS: dict[str, Callable[[Any, Any], Tensor]] = {"kl": minus_divergence, "agreement": agreement}
