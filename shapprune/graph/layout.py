"""Where the units of a layer lie in a value of its network."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """Where units lie in a value.

    Attributes:
        axis: of the units: 1 in [N, units, ...], -1 in [N, tokens, units].
        width: places on that axis that a unit has, side by side: 3 where three query heads share keys and values.
        rows: rows of an image on the first axis, as windows of an image are.

    Examples:
        >>> import torch
        >>> from shapprune.graph.layout import Layout
        >>> tokens = Layout(axis=-1)
        >>> tokens.split(torch.zeros(2, 5, 3)).shape, tokens.join(torch.zeros(2, 3, 5)).shape
        (torch.Size([2, 3, 5]), torch.Size([2, 5, 3]))
    """

    axis: int = 1
    width: int = 1
    rows: int = 1

    def split(self, values: Tensor) -> Tensor:
        """[N * rows, ...] with units on their axis -> [N, units, ...]."""
        values = values.movedim(self.axis, 1)
        if self.rows > 1:
            values = values.unflatten(0, (-1, self.rows)).movedim(1, 2)
        return values.unflatten(1, (-1, self.width)) if self.width > 1 else values

    def join(self, values: Tensor) -> Tensor:
        """What `split` returned, as it was."""
        if self.width > 1:
            values = values.flatten(1, 2)
        if self.rows > 1:
            values = values.movedim(2, 1).flatten(0, 1)
        return values.movedim(1, self.axis)
