"""Coalitions that enter a network behind the next convolution or linear layer, as sums of contributions of units.

The output of that layer is linear in the gates of the units: a constant, and one contribution for each unit that is
kept. Along a removal order it is a running sum; for arbitrary coalitions it is one matrix product; and before a linear
classifier no network is left to run.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from shapprune.game.engine import Entry, Walks
from shapprune.game.next_linear import NextLinear
from shapprune.graph.unit_graph import UnitGraph

# A map with fewer positions gives a matrix product too few rows to be fast, one example at a time.
_FEW_POSITIONS = 36
# Cache contributions from the second pass on; earlier, allocating costs more than recomputing.
_CACHED_FROM = 2


class SummedEntry(Entry):
    """Coalitions enter behind the next convolution or linear layer, as sums of contributions of their units.

    Args:
        graph: the network.
        following: the next layer, with the BatchNorm that follows it, if any.
        values: what goes into it with no unit removed, [N, n, ...].
        images: the scoring images, [N, ...].
        rows: how many images go through the part before the cut together.
        cache_bytes: how much memory cached contributions may take.
    """

    def __init__(
        self, graph: UnitGraph, following: NextLinear, values: Tensor, images: Tensor, rows: int, cache_bytes: int
    ):
        super().__init__(graph, following.node, images, rows, need_values=False)
        self._inputs, self._cache_bytes = values, cache_bytes
        self._module = module = following.module
        self._weight, bias = module.weight.detach(), module.bias
        if (norm := following.norm) is not None:
            mean, var = norm.running_mean, norm.running_var
            assert mean is not None  # `next_linear` returns no other norm
            assert var is not None
            self._weight, bias = fuse_conv_bn_weights(self._weight, bias, mean, var, norm.eps, norm.weight, norm.bias)
            self._weight = self._weight.detach()
        constant = values.new_zeros(len(self._weight)) if bias is None else bias.detach()
        constant = constant.reshape(-1, *[1] * (len(self.shape) - 1)).expand(self.shape)
        self._constant = (constant.movedim(0, -1) if self.channels_last else constant).reshape(-1)
        self._cached: Tensor | None = None
        self._buffer, self._passes = _Buffer(), 0

    def memory(self) -> int:  # noqa: D102  as in Entry
        return 4 * self._inputs.shape[1] * self.shape.numel()

    def prepare(self, examples: slice) -> Tensor:
        """The contributions of the units of some examples, [e, n, numbers]; the next call may overwrite them.

        Those of a convolution are cached for all examples from the second pass on, if they fit into ``cache_bytes``.
        """
        self._passes += examples.start == 0
        cheap = self._passes < _CACHED_FROM or isinstance(self._module, nn.Linear)
        if self._cached is None and not cheap and self.memory() * len(self._inputs) <= self._cache_bytes:
            self._cached = self._contributions(slice(None), _Buffer())
        return self._contributions(examples, self._buffer) if self._cached is None else self._cached[examples]

    def without(self, units: Tensor) -> SummedEntry:
        """The same entry with some units zero in every coalition, int [k]."""
        if len(units) == 0:
            return self
        other = copy.copy(self)
        other._inputs = self._inputs.index_fill(1, units, 0)
        other._cached = None if self._cached is None else self._cached.index_fill(1, units, 0)
        return other

    def forget(self) -> None:
        """Free the cached contributions, and cache no more."""
        self._cached, self._cache_bytes = None, 0

    def enter(self, contributions: Tensor, gates: Tensor) -> Tensor:  # noqa: D102
        return self._shaped((gates @ contributions + self._constant).flatten(0, 1))

    def walks(self, contributions: Tensor) -> Walks:  # noqa: D102
        kind = ScannedWalks if contributions.is_cuda else SteppedWalks
        return kind(contributions, self._constant, self._shaped)

    def _shaped(self, rows: Tensor) -> Tensor:
        """Rows of numbers in the shape of what enters: [rows, numbers] -> [rows, ...]."""
        if not self.channels_last:
            return rows.reshape(len(rows), *self.shape)
        return rows.reshape(len(rows), *self.shape[1:], self.shape[0]).movedim(-1, 1)

    @torch.no_grad()
    def _contributions(self, examples: slice, buffer: _Buffer) -> Tensor:
        values = self._inputs[examples]
        if isinstance(self._module, nn.Linear):
            return self._of_linear(values, buffer)
        return self._of_convolution(self._module, values, buffer)

    def _of_linear(self, values: Tensor, buffer: _Buffer) -> Tensor:
        e, n = values.shape[:2]
        out = len(self._weight)
        weight = self._weight.reshape(out, n, -1).permute(1, 2, 0)  # [n, positions, out]
        values = values.reshape(e, n, -1)
        if values.shape[2] == 1:
            return torch.mul(values, weight[:, 0].contiguous(), out=buffer(values, e, n, out))
        return torch.bmm(values.transpose(0, 1), weight, out=buffer(values, n, e, out)).transpose(0, 1)

    def _of_convolution(self, module: nn.Conv2d, values: Tensor, buffer: _Buffer) -> Tensor:
        e, n = values.shape[:2]
        out = len(self._weight)
        patches = F.unfold(values, module.kernel_size, module.dilation, module.padding, module.stride)  # type: ignore[arg-type]
        patches = patches.reshape(e, n, -1, patches.shape[-1])  # [e, n, kernel, positions]
        kernels = self._weight.reshape(out, n, -1).permute(1, 0, 2)  # [n, out, kernel]
        if self.channels_last and patches.shape[-1] < _FEW_POSITIONS:  # one product a unit, all examples together
            grouped = patches.permute(1, 0, 3, 2).flatten(1, 2)  # [n, e * positions, kernel]
            result = buffer(values, n, grouped.shape[1], out)
            return torch.bmm(grouped, kernels.mT, out=result).view(n, e, -1).transpose(0, 1)
        result = buffer(values, e, n, self._constant.numel())
        for one, each in zip(patches, result, strict=True):
            left, right = (one.mT, kernels.mT) if self.channels_last else (kernels, one)
            torch.matmul(left, right, out=each.view(n, left.shape[1], right.shape[2]))
        return result


class _Buffer:
    """Memory that is used again: on a CPU allocating is slow. What is in it lasts until the next call."""

    def __init__(self) -> None:
        self._memory: Tensor | None = None

    def __call__(self, like: Tensor, *shape: int) -> Tensor:
        """An empty tensor on the device of another one; new memory on CUDA."""
        numbers = math.prod(shape)
        if like.is_cuda:
            return like.new_empty(shape)
        if self._memory is None or self._memory.numel() < numbers:
            self._memory = like.new_empty(numbers)
        return self._memory[:numbers].view(shape)


class _SummedWalks(Walks):
    """Walks whose rows are running sums.

    Args:
        contributions: of the units of the prepared examples, [e, n, numbers].
        constant: what is there without any unit, [numbers].
        shaped: gives rows [rows, numbers] the shape of what enters.
    """

    def __init__(self, contributions: Tensor, constant: Tensor, shaped: Callable[[Tensor], Tensor]):
        examples, units, numbers = contributions.shape
        # Either axis may be the outer one in memory; rows are picked by their place in a view of two axes.
        self._strides = [contributions.stride(axis) // numbers for axis in (0, 1)]
        rows = (examples - 1) * self._strides[0] + (units - 1) * self._strides[1] + 1
        self._rows = contributions.as_strided((rows, numbers), (numbers, 1))
        self._whole = contributions.sum(1).add_(constant)
        self._shaped = shaped

    def begin(self, example: Tensor, leaving: Tensor, rows: int) -> None:
        example_stride, unit_stride = self._strides
        self._place = example[:, None] * example_stride + leaving * unit_stride  # row of the unit that leaves, [W, n]
        self._current = self._whole.index_select(0, example)


class SteppedWalks(_SummedWalks):
    """Running sums step by step, fast on a CPU, where torch.cumsum over the first axis is several times slower."""

    def __init__(self, contributions: Tensor, constant: Tensor, shaped: Callable[[Tensor], Tensor]):
        super().__init__(contributions, constant, shaped)
        self._buffer = contributions.new_empty(0, contributions.shape[2])

    def begin(self, example: Tensor, leaving: Tensor, rows: int) -> None:  # noqa: D102  as in Walks
        super().begin(example, leaving, rows)
        if len(self._buffer) < rows:
            self._buffer = self._rows.new_empty(rows, self._rows.shape[1])

    def rows(self, step: Tensor, walk: Tensor, widths: Sequence[int]) -> Tensor:  # noqa: D102
        rows = torch.index_select(self._rows, 0, self._place[walk, step], out=self._buffer[: len(step)])
        current = self._current
        for block in rows.split_with_sizes(list(widths)):
            current = torch.sub(current[: len(block)], block, out=block)
        self._current = current.clone()
        return self._shaped(rows)


class ScannedWalks(_SummedWalks):
    """Running sums in a few launches, fast on CUDA: all walks take all the steps, and surplus rows are left out."""

    def rows(self, step: Tensor, walk: Tensor, widths: Sequence[int]) -> Tensor:  # noqa: D102  as in Walks
        wide, steps = widths[0], len(widths)
        first = step[0]
        place = self._place[:wide].index_select(1, first + torch.arange(steps, device=step.device))
        lost = self._rows.index_select(0, place.t().flatten()).reshape(steps, wide, -1)
        rows = self._current[:wide] - lost.cumsum_(0)
        self._current = rows[-1].clone()
        rows = rows.flatten(0, 1)
        if len(rows) > len(step):
            rows = rows.index_select(0, (step - first) * wide + walk)
        return self._shaped(rows)
