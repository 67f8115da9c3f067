"""Images in batches none of which has a single one, since some networks mean other things by that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

from torch import Tensor


class Batches(Sequence[Tensor]):
    """Values in batches. Each is a copy whenever it is asked for, since networks may work on their inputs in place.

    Args:
        parts: the batches.
    """

    def __init__(self, parts: tuple[Tensor, ...]):
        self._parts = parts

    def __len__(self) -> int:
        return len(self._parts)

    @overload
    def __getitem__(self, place: int) -> Tensor: ...
    @overload
    def __getitem__(self, place: slice) -> Batches: ...
    def __getitem__(self, place: int | slice) -> Tensor | Batches:
        return Batches(self._parts[place]) if isinstance(place, slice) else self._parts[place].clone()


def in_batches(values: Tensor, size: int) -> Batches:
    """The parts of `split_in_batches`, each copied when it is asked for: what networks are run on.

    Args:
        values: as there.
        size: as there.

    Examples:
        >>> import torch
        >>> from shapprune.networks.batches import in_batches
        >>> values = torch.rand(9, 3)
        >>> [each.zero_().shape[0] for each in in_batches(values, 4)], bool(values.any())
        ([4, 5], True)
    """
    return Batches(split_in_batches(values, size))


def split_in_batches(values: Tensor, size: int) -> tuple[Tensor, ...]:
    """Split values along their first axis; an only one that would be left over goes with those before it.

    BatchNorm cannot train on a single value of each channel, and ``squeeze()`` takes the axis of a single image away.

    Args:
        values: [N, ...].
        size: how many a batch has, at least 1.

    Examples:
        >>> import torch
        >>> from shapprune.networks.batches import split_in_batches
        >>> [len(each) for each in split_in_batches(torch.rand(9, 3), 4)]
        [4, 5]
    """
    whole, left = divmod(len(values), size)
    sizes = [size] * whole + [left] * (left > 0)
    if whole and left == 1 < size:
        sizes[-2:] = [size + 1]
    return values.split(sizes)
