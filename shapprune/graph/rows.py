"""Inputs and outputs of a layer as rows: one row a position, one column an input of the layer or a unit."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shapprune.graph.operations import has_own_weights, keeps_forward

Linear = nn.Conv2d | nn.Linear

# Products that a Gram matrix may take; where all rows would take more, some are drawn.
_PRODUCTS = 2**36
# A share of the square of an input that is rounding.
_ROUNDING = 1e-10


def has_rows(module: nn.Module) -> bool:
    """Whether a layer is linear in rows of its inputs, by weights of its own: nn.Conv2d of one group, or nn.Linear."""
    known = isinstance(module, nn.Conv2d | nn.Linear) and keeps_forward(module) and has_own_weights(module)
    return known and getattr(module, "groups", 1) == 1


def input_rows(layer: Linear, values: Tensor) -> Tensor:
    """Lay out the inputs of a layer as rows, in the order of its weights.

    Args:
        layer: one that `has_rows`.
        values: its inputs, [N, channels, height, width] or [N, ..., features].

    Returns:
        [N, P, features] of P positions; with weights [units, features] the outputs are rows @ weights.T.

    Examples:
        >>> import torch
        >>> from shapprune.graph.rows import input_rows, output_rows
        >>> layer, images = torch.nn.Conv2d(2, 3, 3, padding=1, bias=False), torch.rand(4, 2, 5, 5)
        >>> rows = input_rows(layer, images)
        >>> rows.shape, torch.allclose(rows @ layer.weight.flatten(1).T, output_rows(layer, layer(images)), atol=1e-6)
        (torch.Size([4, 25, 18]), True)
    """
    if isinstance(layer, nn.Linear):
        return values.reshape(len(values), -1, values.shape[-1])
    values, stride = _padded(layer, values), layer.stride
    if layer.kernel_size == (1, 1):
        return values[:, :, :: stride[0], :: stride[1]].flatten(2).mT
    return F.unfold(values, layer.kernel_size, layer.dilation, stride=stride).mT


def some_input_rows(layer: Linear, values: Tensor, count: int, images: Tensor, positions: Tensor) -> Tensor:
    """Lay out some of the rows of `input_rows`, without laying out the others.

    Args:
        layer: as there.
        values: as there, of ``count`` images; an image may have several of the N, as it has several windows.
        count: how many images there are.
        images: int [n, 1], which of them.
        positions: int [n, p], which positions of each in the layer's outputs.

    Returns:
        [n, p, features].

    Examples:
        >>> import torch
        >>> from shapprune.graph.rows import input_rows, some_input_rows
        >>> layer, values = torch.nn.Conv2d(2, 3, 3, padding=1), torch.rand(4, 2, 5, 5)
        >>> images, positions = torch.tensor([[0], [3]]), torch.tensor([[24, 0], [7, 8]])
        >>> rows = some_input_rows(layer, values, 4, images, positions)
        >>> rows.shape, torch.equal(rows[1, 0], input_rows(layer, values)[3, 7])
        (torch.Size([2, 2, 18]), True)
    """
    if isinstance(layer, nn.Linear):
        return values.reshape(count, -1, values.shape[-1])[images, positions]
    patches = _padded(layer, values)
    if layer.kernel_size != (1, 1):  # what is read then lies together, which is three times as fast
        patches = patches.contiguous(memory_format=torch.channels_last)
    for axis in (2, 3):
        size, gap, stride = (each[axis - 2] for each in (layer.kernel_size, layer.dilation, layer.stride))
        patches = patches.unfold(axis, gap * (size - 1) + 1, stride)[..., ::gap]
    height, width = patches.shape[2:4]
    parts = images * (len(values) // count) + positions // (height * width)
    rows = patches.permute(0, 2, 3, 4, 5, 1)[parts, positions // width % height, positions % width]
    return rows.movedim(-1, 2).flatten(2)


def _padded(layer: nn.Conv2d, values: Tensor) -> Tensor:
    how = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    padding = layer._reversed_padding_repeated_twice
    return F.pad(values, padding, how) if any(padding) else values


def output_rows(layer: Linear, values: Tensor) -> Tensor:
    """Lay out the outputs of a layer as rows: [N, units, height, width] or [N, ..., units] -> [N, P, units]."""
    return values.flatten(2).mT if isinstance(layer, nn.Conv2d) else values.reshape(len(values), -1, values.shape[-1])


def counted_rows(counted: Tensor | None, rows: Tensor) -> Tensor | None:
    """Say which of some rows count, bool [N, P]; None for all.

    Args:
        counted: positions of sequences that are no padding (`shapprune.networks.named_inputs.counted_positions`).
        rows: of a layer, [N, P, ...]; where they are not those of the positions, all count.
    """
    return counted if counted is not None and counted.shape == rows.shape[:2] else None


class Spread:
    """How the inputs of a layer spread, over all rows or over some that are drawn.

    Args:
        layer: one that `has_rows`.
        positions: how many rows an image has.
        images: how many images there will be.
        centred: whether the mean of each input is taken away.

    Attributes:
        few: whether there are fewer rows than features.
    """

    def __init__(self, layer: Linear, positions: int, images: int, centred: bool):
        self._layer, self._positions, self._centred = layer, positions, centred
        self._features = layer.weight[0].numel()
        enough = max(self._features, _PRODUCTS // self._features**2)
        self._places = draw_positions(positions, max(1, enough // images))
        rows = images * (positions if self._places is None else len(self._places))
        self.few = rows < self._features
        self._rows: list[Tensor] = []
        self._gram, self._sum, self._count = torch.zeros(()), torch.zeros(()), 0

    def add(self, values: Tensor, counted: Tensor | None = None) -> None:
        """Add the layer's inputs for some images, at the positions that count, bool [images, T]; None for all."""
        rows = input_rows(self._layer, values).reshape(-1, self._positions, self._features)
        counted = counted_rows(counted, rows)
        if self._places is not None:
            places = self._places.to(rows.device)
            rows, counted = rows[:, places], None if counted is None else counted[:, places]
        rows = (
            rows.flatten(0, 1) if counted is None else rows[counted]
        ).double()  # a Gram matrix in single precision may not be positive
        self._sum = self._sum.to(rows.device) + rows.sum(0)
        self._count += len(rows)
        if self.few:
            self._rows.append(rows)
        else:
            self._gram = self._gram.to(rows.device) + rows.mT @ rows

    @property
    def means(self) -> Tensor:
        """What is taken away from each input, float64 [features]."""
        return self._sum / self._count * self._centred

    def rows(self) -> Tensor:
        """The rows, float64 [rows, features], if there are few; else their Gram matrix, [features, features]."""
        if self.few:
            return torch.cat(self._rows) - self.means
        gram = self._gram - self._count * torch.outer(self.means, self.means)
        # What is constant but for rounding gets a little more than rounding.
        gram.diagonal().copy_(torch.maximum(gram.diagonal(), _ROUNDING * self._gram.diagonal()))
        return gram


def draw_positions(positions: int, some: int) -> Tensor | None:
    """Draw positions of a layer's outputs, the same for each image.

    Returns:
        int, in increasing order; None for all.
    """
    if some >= positions:
        return None
    return torch.randperm(positions, generator=torch.Generator().manual_seed(0))[:some].sort().values
