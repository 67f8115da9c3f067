"""Outputs of networks: a tensor, or tuples, lists and dictionaries of tensors."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

# How far outputs that should be the same may differ, as a share of the largest: rounding stays far below, a unit that
# was wrongly removed or images that are mixed far above. Numbers of few digits round by more.
_TOLERANCE, _ROUNDINGS = 1e-3, 4


def tensors_of(outputs: object) -> list[Tensor]:
    """The tensors in the outputs of a network.

    Examples:
        >>> import torch
        >>> from shapprune.graph.outputs import tensors_of
        >>> tensors_of({"classes": torch.ones(2), "parts": (torch.zeros(1), None)})
        [tensor([1., 1.]), tensor([0.])]
    """
    return [each for each in pytree.tree_leaves(outputs) if isinstance(each, Tensor)]


def find_difference(found: object, expected: object) -> float:
    """How far outputs differ, as a share of the largest number expected; infinite where they have other shapes.

    Outputs of several tensors are compared tensor by tensor.

    Examples:
        >>> import torch
        >>> from shapprune.graph.outputs import find_difference
        >>> find_difference((torch.tensor([1.0, 4.0]),), (torch.tensor([2.0, 4.0]),))
        0.25
    """
    pairs = list(zip(tensors_of(found), tensors_of(expected), strict=False))
    if pytree.tree_structure(found) != pytree.tree_structure(expected):
        return math.inf
    return max((_differ(*pair) for pair in pairs), default=0.0)


def agree(found: object, expected: object) -> bool:
    """Whether outputs are the same but for rounding."""
    digits = [torch.finfo(each.dtype).eps for each in tensors_of(expected) if each.is_floating_point()]
    return find_difference(found, expected) <= max(_TOLERANCE, *(_ROUNDINGS * each for each in digits), 0)


def _differ(found: Tensor, expected: Tensor) -> float:
    if found.shape != expected.shape:
        return math.inf
    if not expected.numel():
        return 0.0
    one, other = found.double(), expected.double()
    same = (one == other) | (one.isnan() & other.isnan())  # infinite numbers among them
    most = float(torch.where(same, 0, one - other).abs().max())
    scale = float(torch.where(other.isfinite(), other, 0).abs().max())
    if most == 0:
        return 0.0
    return most / scale if scale and math.isfinite(most) else math.inf
