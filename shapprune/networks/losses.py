"""Loss and accuracy of examples that have one label each, or, as sequences of tokens, one at each position."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from shapprune.core.errors import ShapPruneError
from shapprune.data.prepared import NOT_COUNTED


def logits_of(outputs: Any) -> Any:
    """The outputs before the softmax, where a network puts out more.

    They are ``logits`` of a mapping, dataclass or named tuple, and the only item of a tuple or list. Anything else is
    returned as it is.

    Examples:
        >>> import torch
        >>> from shapprune.networks.losses import logits_of
        >>> logits_of({"logits": torch.ones(1), "hidden": torch.zeros(1)})
        tensor([1.])
    """
    if isinstance(outputs, Mapping):
        return outputs.get("logits", outputs)
    if hasattr(outputs, "logits"):
        return outputs.logits
    return outputs[0] if isinstance(outputs, tuple | list) and len(outputs) == 1 else outputs


def cross_entropies(outputs: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """The cross-entropy of each example in nats, float [N]; of a sequence the mean over its labels that count.

    Args:
        outputs: before the softmax, float [N, classes]; of sequences [N, T, classes].
        labels: int64 [N]; of sequences [N, T], what is to follow each token, or `NOT_COUNTED`.
        label_smoothing: share of a label that is spread over all classes.

    Examples:
        >>> import torch
        >>> from shapprune.networks.losses import cross_entropies
        >>> cross_entropies(torch.zeros(1, 3, 2), torch.tensor([[0, 1, -100]]))
        tensor([0.6931])
    """
    each = F.cross_entropy(outputs.flatten(0, -2), labels.flatten(), reduction="none", label_smoothing=label_smoothing)
    return mean_of_positions(each.view_as(labels), labels)


def mean_loss(outputs: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """The mean of `cross_entropies`, a number."""
    if labels.dim() == 1:
        return F.cross_entropy(outputs, labels, label_smoothing=label_smoothing)
    return cross_entropies(outputs, labels, label_smoothing).mean()


def hits(outputs: Tensor, labels: Tensor) -> Tensor:
    """1 if the label has the largest output, else 0, float32 [N]; of a sequence the share of its labels that count.

    Arguments are as for `cross_entropies`.
    """
    return mean_of_positions((outputs.argmax(-1) == labels).float(), labels)


def mean_of_positions(values: Tensor, labels: Tensor) -> Tensor:
    """The mean of each sequence's values, [N, T], over the labels that count, [N]; values of one label are returned."""
    if labels.dim() == 1:
        return values
    return mean_where(values, labels != NOT_COUNTED)


def mean_where(values: Tensor, counted: Tensor) -> Tensor:
    """The mean over the last axis of the values that count.

    Args:
        values: [..., P]; what does not count may be nan.
        counted: bool, as many; one or more of each row.

    Examples:
        >>> import torch
        >>> from shapprune.networks.losses import mean_where
        >>> mean_where(torch.tensor([[1.0, 3.0, torch.nan]]), torch.tensor([[True, True, False]]))
        tensor([2.])
    """
    return torch.where(counted, values, 0).sum(-1) / counted.sum(-1)


def require_labels(inputs: Tensor | None, labels: Tensor) -> None:
    """Raise for sequences whose labels leave nothing to learn or measure; those of images, [N], are not looked at.

    Args:
        inputs: images, or tokens, int64 [N, T]; None to look at labels alone.
        labels: [N], or of sequences [N, T].

    Raises:
        ShapPruneError: no label of a sequence counts, or the labels are the tokens themselves.
    """
    if labels.dim() == 1:
        return
    counted = labels != NOT_COUNTED
    if not counted.any(1).all():
        empty = int(counted.any(1).logical_not().nonzero()[0])
        raise ShapPruneError(f"sequence {empty} has no label that counts: all are {NOT_COUNTED}")
    if inputs is not None and inputs.shape == labels.shape and torch.equal(inputs, labels.where(counted, inputs)):
        raise ShapPruneError(
            "the labels are the tokens themselves, but that of a position is what follows it: give tokens[:, :-1] and"
            " tokens[:, 1:]"
        )
