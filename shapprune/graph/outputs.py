"""Outputs of networks: a tensor, or tuples, lists, dictionaries and dataclasses of tensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeGuard

import torch
from torch import Tensor

# How far outputs that should be the same may differ, as a share of the largest: rounding stays far below, a unit that
# was wrongly removed or images that are mixed far above. Numbers of few digits round by more.
_TOLERANCE, _ROUNDINGS = 1e-3, 4


def tensors_of(outputs: object) -> dict[str, Tensor]:
    """The tensors in the outputs of a network, by where they are.

    Examples:
        >>> import torch
        >>> from shapprune.graph.outputs import tensors_of
        >>> tensors_of({"classes": torch.ones(2), "parts": (torch.zeros(1), None)})
        {"['classes']": tensor([1., 1.]), "['parts'][0]": tensor([0.])}
    """
    if isinstance(outputs, Tensor):
        return {"": outputs}
    outputs = _fields_of(outputs) or outputs
    parts = outputs.items() if isinstance(outputs, Mapping) else enumerate(outputs) if _is_row(outputs) else ()
    return {f"[{key!r}]{where}": each for key, part in parts for where, each in tensors_of(part).items()}


def map_tensors(function: Callable[[Tensor], Tensor], outputs: Any) -> Any:
    """Outputs with the result of a function in place of each tensor."""
    if isinstance(outputs, Tensor):
        return function(outputs)
    if isinstance(outputs, Mapping):
        return {key: map_tensors(function, part) for key, part in outputs.items()}
    if found := _fields_of(outputs):
        return replace(outputs, **map_tensors(function, found))
    if _is_row(outputs):
        parts = [map_tensors(function, part) for part in outputs]
        return (
            type(outputs)(*parts)
            if hasattr(outputs, "_fields")
            else tuple(parts)
            if isinstance(outputs, tuple)
            else parts
        )
    return outputs


def _fields_of(outputs: Any) -> dict[str, Any]:
    """The fields of a dataclass that its constructor takes, by name; nothing of anything else."""
    if not is_dataclass(outputs) or isinstance(outputs, type | Mapping):
        return {}
    return {field.name: getattr(outputs, field.name) for field in fields(outputs) if field.init}


def _is_row(outputs: object) -> TypeGuard[Sequence[object]]:
    return isinstance(outputs, tuple | list)


def find_difference(found: object, expected: object) -> float:
    """How far outputs differ, as a share of the largest number expected; infinite where they have other shapes.

    Outputs of several tensors are compared tensor by tensor.

    Examples:
        >>> import torch
        >>> from shapprune.graph.outputs import find_difference
        >>> find_difference((torch.tensor([1.0, 4.0]),), (torch.tensor([2.0, 4.0]),))
        0.25
    """
    one, other = tensors_of(found), tensors_of(expected)
    if one.keys() != other.keys():
        return math.inf
    return max((_differ(one[where], other[where]) for where in other), default=0.0)


def are_close(found: object, expected: object) -> bool:
    """Whether outputs are the same but for rounding."""
    digits = [torch.finfo(each.dtype).eps for each in tensors_of(expected).values() if each.is_floating_point()]
    return find_difference(found, expected) <= max(_TOLERANCE, *(_ROUNDINGS * each for each in digits), 0)


def _differ(found: Tensor, expected: Tensor) -> float:
    if found.shape != expected.shape:
        return math.inf
    if not expected.numel():
        return 0.0
    one, other = found.double(), expected.double()
    same = (one == other) | (one.isnan() & other.isnan())  # infinite numbers among them
    most = float(torch.where(same, 0, one - other).abs().max().detach())
    scale = float(torch.where(other.isfinite(), other, 0).abs().max())
    if most == 0:
        return 0.0
    return most / scale if scale and math.isfinite(most) else math.inf
