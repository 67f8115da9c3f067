"""Images in the company of others: what in a network follows their number, and whether one has a say in another."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, fx

from shapprune.core.errors import ShapPruneError
from shapprune.graph.cut import PerImage, node_values
from shapprune.graph.outputs import are_close, map_tensors, tensors_of

_PLAIN = (int, float, str, type(None), slice, torch.dtype, torch.device)


@dataclass(frozen=True)
class _Shape:
    """The shape of a tensor that an operation returned."""

    axes: tuple[int, ...]


class _Unclear(Exception):  # noqa: N818 - no error
    """A value follows the number of images in no simple way."""


class Company:
    """A traced network on two images, and on three: the same and a brighter one.

    Sizes that are the same on both are constants, and those that grow by a half count images: sizes that happen to
    equal the number of images are told from it.

    Args:
        traced: the network.
        images: [N, ...]; the first two are taken, or the only one twice.

    Raises:
        ShapPruneError: the network fails on such images.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from shapprune.graph.company import Company
        >>> from shapprune.graph.tracing import trace
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3, track_running_stats=False))
        >>> Company(trace(model), torch.rand(2, 4)).require_independence()
        Traceback (most recent call last):
          ...
        shapprune.core.errors.ShapPruneError: what Sequential puts out for an image depends on the others ...
    """

    def __init__(self, traced: fx.GraphModule, images: Tensor):
        self._traced, self._independent = traced, False
        self._images = images[[0, 1 % len(images)]]
        one = self._images[:1]
        other = 3 * one + 1 if one.is_floating_point() else torch.zeros_like(one)
        self._two, self._outputs = node_values(traced, self._images, _describe)
        self._three, self._beside = node_values(traced, torch.cat([self._images, other]), _describe)

    def require_independence(self) -> None:
        """Raise unless what an image puts out is a number, and the same each time, whatever is or is not beside it.

        It is looked at once.
        """
        if self._independent:
            return
        name = type(self._traced).__name__
        if any(each.isnan().any() for each in tensors_of(self._outputs).values()):
            raise ShapPruneError(f"{name} puts out nan for the first images; look at its weights and the images")
        beside = map_tensors(lambda each: each[:2] if each.dim() else each, self._beside)
        if are_close(beside, self._outputs):
            node_values(self._traced, self._images[:1], _describe)  # a call of a game may have a single row
            self._independent = True
            return
        if not are_close(node_values(self._traced, self._images, _describe)[1], self._outputs):
            raise ShapPruneError(
                f"{name} puts out other numbers each time in eval mode; F.dropout needs training=self.training"
            )
        raise ShapPruneError(
            f"what {name} puts out for an image depends on the others in its batch, as with a BatchNorm that has no"
            " running statistics, so coalitions cannot share a batch"
        )

    @cached_property
    def sizes(self) -> dict[fx.Node, object]:
        """What is no tensor and counts images: node -> its value, with `PerImage` where it is a count."""
        found = {}
        for node, value in self._two.items():
            if value != self._three.get(node) and not isinstance(value, _Shape):
                try:
                    found[node] = _per_image(value, self._three[node])
                except _Unclear:
                    continue
        return found

    def rows_of(self, node: fx.Node) -> int:
        """How many rows of a tensor an image has, side by side; 0 where a value is the same for all images.

        Raises:
            ShapPruneError: it follows the images in another way.
        """
        two, three = self._two[node], self._three[node]
        if two == three:
            return 0
        if isinstance(two, _Shape) and isinstance(three, _Shape) and two.axes[1:] == three.axes[1:]:
            rows, rest = divmod(two.axes[0], 2)
            if rest == 0 and three.axes[0] == 3 * rows:
                return rows
        raise ShapPruneError(
            f"the network cannot be cut here: {node.name!r} crosses the cut, and images are not its first axis"
        )


def _describe(value: object) -> object:
    if isinstance(value, Tensor):
        return _Shape(tuple(value.shape))
    if isinstance(value, tuple | list):
        return tuple(map(_describe, value))
    return value if isinstance(value, _PLAIN) else object()  # what is like nothing else


def _per_image(two: object, three: object) -> object:
    """What two values say, one on two images and the other on three, of all numbers of images."""
    if isinstance(two, tuple) and isinstance(three, tuple) and len(two) == len(three):
        return tuple(_per_image(*pair) for pair in zip(two, three, strict=True))
    if two == three and not isinstance(two, _Shape):
        return two
    if isinstance(two, int) and isinstance(three, int) and two * 3 == three * 2:
        return PerImage(two // 2)
    raise _Unclear
