"""Units as users give them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np
from torch import Tensor

from shapprune.core.errors import ShapPruneError

_MEANT = {"b": "a mask of True and False", "f": "numbers with a point"}


def read_units(units: Iterable[int] | Tensor | np.ndarray, count: int, layer: str) -> list[int]:
    """Read units that are given by their indices.

    Args:
        units: whole numbers, each once: a list, range, set, array or tensor of one axis.
        count: how many units the layer has.
        layer: its name, for the message.

    Returns:
        The indices in increasing order.

    Raises:
        ShapPruneError: something else was given, as a mask, a negative number, or a unit twice.

    Examples:
        >>> import torch
        >>> from shapprune.graph.units import read_units
        >>> read_units(torch.tensor([4, 1]), 6, "conv1")
        [1, 4]
    """
    given = np.asarray(units.detach().cpu() if isinstance(units, Tensor) else list(units))
    if given.size and (given.dtype.kind not in "iu" or given.ndim != 1):
        what = _MEANT.get(given.dtype.kind, "something else") if given.ndim == 1 else f"{given.ndim} axes of numbers"
        raise ShapPruneError(
            f"units of layer {layer!r} are given as {what}, their indices 0 ... {count - 1} are needed"
        )
    found = sorted(given.astype(int).tolist())
    if found and not 0 <= found[0] <= found[-1] < count:
        raise ShapPruneError(f"layer {layer!r} has units 0 ... {count - 1}, not {found}")
    if twice := [one for one, other in itertools.pairwise(found) if one == other]:
        raise ShapPruneError(f"unit {twice[0]} of layer {layer!r} is given more than once")
    return found
