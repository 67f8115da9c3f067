"""Payoffs that compare with the outputs of the intact network, so that they need no labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from shapprune.data.prepared import NOT_COUNTED
from shapprune.networks.losses import logits_of, mean_where


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
        whole: those of the intact network; nan at positions that do not count.

    Examples:
        >>> import torch
        >>> from shapprune.game.whole import minus_divergence
        >>> outputs = torch.tensor([[0.0, 1.0], [2.0, 0.0]])
        >>> minus_divergence(outputs, outputs).tolist(), (minus_divergence(-outputs, outputs) < -0.4).all().item()
        ([-0.0, -0.0], True)
    """
    whole = logits_of(whole)
    return mean_where_counted(-divergences(whole.nan_to_num(), logits_of(outputs)), whole)


def agreement(outputs: Any, whole: Any) -> Tensor:
    """1 if the intact network has the same largest output, else 0, float [N]; arguments as for `minus_divergence`."""
    outputs, whole = logits_of(outputs), logits_of(whole)
    return mean_where_counted((outputs.argmax(-1) == whole.argmax(-1)).to(outputs.dtype), whole)


def uncounted(whole: Any, labels: Tensor | None, counted: Tensor | None = None) -> Any:
    """Outputs of the intact network with nan where a position, or its label, does not count.

    Args:
        whole: the outputs, [N, T, classes] of sequences.
        labels: [N, T], `NOT_COUNTED` among them; others, and other outputs, change nothing.
        counted: which positions are no padding, bool [N, T]; None for all.
    """
    for mask in (None if labels is None else labels != NOT_COUNTED, counted):
        if mask is not None and mask.dim() == 2 and isinstance(whole, Tensor) and whole.shape[:-1] == mask.shape:
            whole = whole.masked_fill(~mask[..., None], torch.nan)
    return whole


def mean_where_counted(values: Tensor, whole: Tensor, classes: int = -1) -> Tensor:
    """The mean of each example's values over its positions that count, [N, ...] -> [N].

    Args:
        values: a number for each position.
        whole: outputs of the intact network; nan at positions that do not count.
        classes: the axis of their classes.
    """
    counted = whole.select(classes, 0).isnan().logical_not().reshape(len(values), -1)
    return mean_where(values.reshape(len(values), -1), counted)


WITHOUT_LABELS: dict[str, Callable[[Any, Any], Tensor]] = {"kl": minus_divergence, "agreement": agreement}
