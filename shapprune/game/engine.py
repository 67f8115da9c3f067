"""How coalitions enter the rest of a network.

The values of a layer are linear in the gates of its units, and so is what the next convolution or linear layer makes
of them: a sum with one contribution for each unit. So the rest of the network can be entered *behind* that next layer
(`SummedEntry`). Along a removal order its values are a running sum; those of arbitrary coalitions are one matrix
product; and before a linear classifier no network is left to run. Where the next operation is not of that kind, the
values of the layer itself are masked (`MaskedEntry`).
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from shapprune.core.errors import ShapPruneError
from shapprune.game.tail import make_ready
from shapprune.graph.cut import cut_at
from shapprune.graph.unit_graph import NextLinear, UnitGraph
from shapprune.networks.modes import mode

# One example's positions are fewer rows than a matrix product is fast with.
_FEW_POSITIONS = 36
# From so many passes on contributions are kept: new memory for all of them costs more than to make them again.
_KEPT_FROM = 3


class Walks(ABC):
    """Removal orders of prepared examples that are walked side by side."""

    @abstractmethod
    def begin(self, example: Tensor, leaving: Tensor, rows: int) -> None:
        """Begin with some orders.

        Args:
            example: the place of each walk's example among the prepared ones, int [W].
            leaving: the units in the order in which they leave, int [W, n].
            rows: the most that are asked for at a time.
        """

    @abstractmethod
    def rows(self, step: Tensor, walk: Tensor, widths: Sequence[int]) -> Tensor:
        """What enters the network at the next steps; each call goes on where the one before ended.

        Args:
            step: of each row, int [rows]; at step j the first j + 1 units of the order are gone.
            walk: of each row, int [rows]. Steps follow one another; within a step the walks 0, 1, ... do.
            widths: how many walks each of the steps has, never more than the step before.

        Returns:
            [rows, ...]; it may be overwritten before the next call is made.
        """


class Entry(ABC):
    """A place where coalitions enter a network.

    Attributes:
        cut: the network, cut there.
        shape: shape of what enters for one example.
        numbers: numbers in the largest value of one example from there on, a measure of memory.
        channels_last: whether what enters has its channels last in memory.
    """

    def __init__(self, graph: UnitGraph, node: fx.Node, images: Tensor, rows: int, need_values: bool):
        self.cut = cut_at(graph.traced, node)
        self.shape = graph.shapes[node][1:]
        self.numbers = max(graph.shapes[each][1:].numel() for each in self.cut.nodes if each in graph.shapes)
        self._passing: list[Tensor | object] = []
        with torch.no_grad(), mode(graph.traced, training=False):
            wanted = make_ready(self.cut, graph.shapes, images.is_cuda)
            if need_values or self.cut.crossing:
                parts = [self.cut.before(some) for some in images.split(rows)]
                for each in zip(*parts, strict=True):
                    self._passing.append(torch.cat(each) if isinstance(each[0], Tensor) and each[0].dim() else each[0])
        # Without a convolution behind it a value is a map of few positions, best made with its channels last.
        self.channels_last = len(self.shape) == 3 and wanted is not False
        if wanted:
            self._passing = [_with_channels_last(each) for each in self._passing]

    @abstractmethod
    def memory(self) -> int:
        """Bytes that `prepare` takes for one example."""

    @abstractmethod
    def prepare(self, examples: slice) -> Tensor:
        """What `enter` and `walks` need of some examples, one element of the first axis for each."""

    @abstractmethod
    def enter(self, prepared: Tensor, gates: Tensor) -> Tensor:
        """What enters for coalitions of prepared examples; gates [e, c, n] -> [e * c, ...]."""

    @abstractmethod
    def walks(self, prepared: Tensor) -> Walks:
        """Removal orders of prepared examples, to be walked side by side."""

    def run(self, entering: Tensor, examples: Tensor) -> Tensor:
        """Outputs of what enters.

        Args:
            entering: [rows, ...]; it may be overwritten.
            examples: the example that each row is of, int [rows].
        """
        beside = [
            _select(each, examples) if isinstance(each, Tensor) and each.dim() else each for each in self._passing[1:]
        ]
        return self.cut.after(entering, *beside)

    def check(self, outputs: Tensor) -> None:
        """Run two copies of a few images together, nothing removed, and compare with the whole network.

        Args:
            outputs: of the network for the first images, [e, ...].

        Raises:
            ShapPruneError: the part after the cut depends on the size of the batch, so coalitions cannot share one.
        """
        few = len(outputs)
        prepared = self.prepare(slice(0, few))
        twice = torch.arange(few, device=outputs.device).repeat_interleave(2)
        try:
            with torch.no_grad():
                found = self.run(self.enter(prepared, prepared.new_ones(few, 2, prepared.shape[1])), twice)
        except RuntimeError:
            found = None
        expected = outputs[twice]
        if found is None or found.shape != expected.shape or not torch.allclose(found, expected, rtol=1e-3, atol=1e-4):
            raise ShapPruneError(
                "the network cannot be cut here: the part after the cut depends on the size of the batch"
            )


class MaskedEntry(Entry):
    """Coalitions enter as the masked values of the layer itself.

    Attributes:
        values: those with nothing removed, [N, n, ...].
    """

    def __init__(self, graph: UnitGraph, node: fx.Node, images: Tensor, rows: int):
        super().__init__(graph, node, images, rows, need_values=True)
        assert isinstance(self._passing[0], Tensor)
        self.values: Tensor = self._passing[0]

    def without(self, units: Tensor) -> MaskedEntry:
        """The same entry with some units zero from the start."""
        other = copy.copy(self)
        other.values = self.values.index_fill(1, units, 0)
        return other

    def memory(self) -> int:  # noqa: D102  as in Entry
        return 0  # the values are there

    def prepare(self, examples: slice) -> Tensor:  # noqa: D102
        return self.values[examples]

    def enter(self, values: Tensor, gates: Tensor) -> Tensor:  # noqa: D102
        return (values[:, None] * gates.reshape(*gates.shape, *[1] * (values.dim() - 2))).flatten(0, 1)

    def walks(self, values: Tensor) -> Walks:  # noqa: D102
        return _MaskedWalks(values)


class _MaskedWalks(Walks):
    def __init__(self, values: Tensor):
        self._values = values

    def begin(self, example: Tensor, leaving: Tensor, rows: int) -> None:
        self._example = example
        self._leaves = torch.argsort(leaving, dim=1)  # at which step, [W, n]

    def rows(self, step: Tensor, walk: Tensor, widths: Sequence[int]) -> Tensor:
        kept = (self._leaves[walk] > step[:, None]).to(self._values.dtype)
        values = _select(self._values, self._example[walk])
        return values.mul_(kept.reshape(*kept.shape, *[1] * (values.dim() - 2)))


class SummedEntry(Entry):
    """Coalitions enter behind the next convolution or linear layer, as sums of contributions of their units.

    ``keep`` is how many bytes of contributions may be kept.
    """

    def __init__(self, graph: UnitGraph, following: NextLinear, values: Tensor, images: Tensor, rows: int, keep: int):
        super().__init__(graph, following.node, images, rows, need_values=False)
        self._inputs, self._keep = values, keep
        self._module = module = following.module
        self._weight, bias = module.weight.detach(), module.bias
        if (norm := following.norm) is not None:
            mean, var = norm.running_mean, norm.running_var
            assert mean is not None  # seen to in next_linear
            assert var is not None
            self._weight, bias = fuse_conv_bn_weights(self._weight, bias, mean, var, norm.eps, norm.weight, norm.bias)
            self._weight = self._weight.detach()
        base = values.new_zeros(len(self._weight)) if bias is None else bias.detach()
        base = base.reshape(-1, *[1] * (len(self.shape) - 1)).expand(self.shape)
        self._base = (base.movedim(0, -1) if self.channels_last else base).reshape(-1)
        self._kept: Tensor | None = None
        self._room, self._passes = _Room(), 0

    def memory(self) -> int:  # noqa: D102
        return 4 * self._inputs.shape[1] * self.shape.numel()

    def prepare(self, examples: slice) -> Tensor:
        """What `enter` and `walks` need of some examples: the contributions, [e, n, numbers], until the next are made.

        Those of all examples are kept when they are asked for again and again, take more than a multiplication each,
        and fit into ``keep`` bytes.
        """
        self._passes += examples.start == 0
        cheap = self._passes < _KEPT_FROM or isinstance(self._module, nn.Linear)
        if self._kept is None and not cheap and self.memory() * len(self._inputs) <= self._keep:
            self._kept = self._contributions(slice(None), _Room())
        return self._contributions(examples, self._room) if self._kept is None else self._kept[examples]

    def without(self, units: Tensor) -> SummedEntry:
        """The same entry with some units zero from the start."""
        other = copy.copy(self)
        other._inputs = self._inputs.index_fill(1, units, 0)
        other._kept = None if self._kept is None else self._kept.index_fill(1, units, 0)
        return other

    def forget(self) -> None:
        """Free what is kept, and keep no more."""
        self._kept, self._keep = None, 0

    @torch.no_grad()
    def _contributions(self, examples: slice, room: _Room) -> Tensor:
        values = self._inputs[examples]
        weight = self._weight
        e, n = values.shape[:2]
        if isinstance(self._module, nn.Linear):
            each = weight.reshape(len(weight), n, -1).permute(1, 2, 0)  # [n, positions, out]
            values = values.reshape(e, n, -1)
            if values.shape[2] == 1:
                return torch.mul(values, each[:, 0].contiguous(), out=room(values, e, n, len(weight)))
            return torch.bmm(values.transpose(0, 1), each, out=room(values, n, e, len(weight))).transpose(0, 1)
        module = self._module
        assert isinstance(module, nn.Conv2d)
        patches = F.unfold(values, module.kernel_size, module.dilation, module.padding, module.stride)  # type: ignore[arg-type]
        patches = patches.reshape(e, n, -1, patches.shape[-1])  # [e, n, kernel, positions]
        kernels = weight.reshape(len(weight), n, -1).permute(1, 0, 2)  # [n, out, kernel]
        if self.channels_last and patches.shape[-1] < _FEW_POSITIONS:  # all examples of a unit in one product
            grouped = patches.permute(1, 0, 3, 2).flatten(1, 2)  # [n, e * positions, kernel]
            result = room(values, n, grouped.shape[1], len(weight))
            return torch.bmm(grouped, kernels.mT, out=result).view(n, e, -1).transpose(0, 1)
        result = room(values, e, n, self._base.numel())
        for one, each in zip(patches, result, strict=True):
            left, right = (one.mT, kernels.mT) if self.channels_last else (kernels, one)
            torch.matmul(left, right, out=each.view(n, left.shape[1], right.shape[2]))
        return result

    def enter(self, contributions: Tensor, gates: Tensor) -> Tensor:  # noqa: D102
        return self._shaped((gates @ contributions + self._base).flatten(0, 1))

    def walks(self, contributions: Tensor) -> Walks:  # noqa: D102
        return _SummedWalks(contributions, self._base, self._shaped)

    def _shaped(self, rows: Tensor) -> Tensor:
        """Rows of numbers as values that enter: [rows, numbers] -> [rows, ...]."""
        if not self.channels_last:
            return rows.reshape(len(rows), *self.shape)
        return rows.reshape(len(rows), *self.shape[1:], self.shape[0]).movedim(-1, 1)


class _Room:
    """Memory for values that are needed only until the next ones; on a CPU new memory is slow to get."""

    def __init__(self) -> None:
        self._memory: Tensor | None = None

    def __call__(self, like: Tensor, *shape: int) -> Tensor:
        """An empty tensor in it, on the device of another one."""
        numbers = math.prod(shape)
        if like.is_cuda:
            return like.new_empty(shape)
        if self._memory is None or self._memory.numel() < numbers:
            self._memory = like.new_empty(numbers)
        return self._memory[:numbers].view(shape)


class _SummedWalks(Walks):
    def __init__(self, contributions: Tensor, base: Tensor, shaped: Callable[[Tensor], Tensor]):
        examples, units, numbers = contributions.shape
        # The contributions of an example's units follow each other in memory, or those of a unit to the examples.
        self._strides = [contributions.stride(axis) // numbers for axis in (0, 1)]
        rows = (examples - 1) * self._strides[0] + (units - 1) * self._strides[1] + 1
        self._each = contributions.as_strided((rows, numbers), (numbers, 1))
        self._whole = contributions.sum(1).add_(base)
        self._shaped = shaped
        self._buffer = contributions.new_empty(0, contributions.shape[2])

    def begin(self, example: Tensor, leaving: Tensor, rows: int) -> None:
        of_example, of_unit = self._strides
        self._place = example[:, None] * of_example + leaving * of_unit  # of the unit that leaves, [W, n]
        self._current = self._whole.index_select(0, example)
        if not self._each.is_cuda and len(self._buffer) < rows:
            # Used again by every call: new memory is slow to get on a CPU.
            self._buffer = self._each.new_empty(rows, self._each.shape[1])

    def rows(self, step: Tensor, walk: Tensor, widths: Sequence[int]) -> Tensor:
        if self._each.is_cuda:
            return self._shaped(self._scanned(step, walk, widths))
        rows = torch.index_select(self._each, 0, self._place[walk, step], out=self._buffer[: len(step)])
        # torch.cumsum over the first axis is several times slower than this loop on a CPU.
        current = self._current
        for block in rows.split_with_sizes(list(widths)):
            current = torch.sub(current[: len(block)], block, out=block)
        self._current = current.clone()
        return self._shaped(rows)

    def _scanned(self, step: Tensor, walk: Tensor, widths: Sequence[int]) -> Tensor:
        """The same in a few launches: all walks take all these steps, what is too much is left out at the end."""
        wide, steps = widths[0], len(widths)
        first = step[0]
        place = self._place[:wide].index_select(1, first + torch.arange(steps, device=step.device))
        lost = self._each.index_select(0, place.t().flatten()).reshape(steps, wide, -1)
        rows = self._current[:wide] - lost.cumsum_(0)
        self._current = rows[-1].clone()
        rows = rows.flatten(0, 1)
        return rows if len(rows) == len(step) else rows.index_select(0, (step - first) * wide + walk)


def _select(values: Tensor, rows: Tensor) -> Tensor:
    """Rows of values, in their memory format."""
    if values.dim() == 4 and values.is_contiguous(memory_format=torch.channels_last):
        return values.movedim(1, -1).index_select(0, rows).movedim(-1, 1)
    return values.index_select(0, rows)


def _with_channels_last(value: Tensor | object) -> Tensor | object:
    if isinstance(value, Tensor) and value.dim() == 4:
        return value.contiguous(memory_format=torch.channels_last)
    return value
