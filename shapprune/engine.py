"""How coalitions enter the rest of a network.

The values of a layer are linear in the gates of its units, and so is what the next convolution or linear layer makes
of them: a sum with one contribution for each unit. So the rest of the network can be entered *behind* that next layer
(`SummedEntry`). Along a removal order its values are a running sum; those of arbitrary coalitions are one matrix
product; and before a linear classifier no network is left to run. Where the next operation is not of that kind, the
values of the layer itself are masked (`MaskedEntry`).
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from shapprune.cut import cut_at
from shapprune.modes import mode
from shapprune.units import NextLinear, UnitGraph

# On a CPU, steps of a walk one by one in a loop beat torch.cumsum, which goes through memory with strides, from about
# this many numbers a step.
_LOOP_FROM = 1024


class Entry(ABC):
    """A place where coalitions enter a network.

    Attributes:
        cut: the network, cut there.
        shape: shape of what enters for one example.
        numbers: numbers in the largest value of one example from there on, a measure of memory.
    """

    def __init__(self, graph: UnitGraph, node: fx.Node, images: Tensor, rows: int, need_values: bool):
        self.cut = cut_at(graph.traced, node)
        self.shape = graph.shapes[node][1:]
        self.numbers = max(graph.shapes[each][1:].numel() for each in self.cut.nodes if each in graph.shapes)
        self._passing: list[Tensor | object] = []
        if need_values or self.cut.crossing:
            with torch.no_grad(), mode(graph.traced, training=False):
                parts = [self.cut.before(some) for some in images.split(rows)]
            columns = zip(*parts, strict=True)
            self._passing = [
                torch.cat(each) if isinstance(each[0], Tensor) and each[0].dim() else each[0] for each in columns
            ]

    @abstractmethod
    def memory(self) -> int:
        """Bytes that `prepare` takes for one example."""

    @abstractmethod
    def prepare(self, examples: slice) -> Tensor:
        """What `enter` and `walk` need of some examples, one element of the first axis for each."""

    @abstractmethod
    def enter(self, prepared: Tensor, gates: Tensor) -> Tensor:
        """What enters for coalitions of prepared examples; gates [e, c, n] -> [e, c, ...]."""

    @abstractmethod
    def walk(self, prepared: Tensor, order: Tensor, start: int, out: Tensor) -> None:
        """What enters when the first start + 1, start + 2, ... units of an order are gone, written to ``out``.

        Args:
            prepared: of one example.
            order: units, the first to leave first, int [m].
            start: how many are gone before the first row.
            out: [rows, ...].
        """

    @abstractmethod
    def walk_all(self, prepared: Tensor, orders: Tensor, depth: int) -> Tensor:
        """What enters along several orders of several examples at once.

        Args:
            prepared: of some examples.
            orders: int [K, e, n].
            depth: how many units leave.

        Returns:
            [K, e, depth, ...]; at step j the first j + 1 units of the order are gone.
        """

    def run(self, entering: Tensor, examples: Tensor) -> Tensor:
        """Outputs of what enters.

        Args:
            entering: [rows, ...]; it may be overwritten.
            examples: the example that each row is of, int [rows].
        """
        beside = [each[examples] if isinstance(each, Tensor) and each.dim() else each for each in self._passing[1:]]
        return self.cut.after(entering, *beside)


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
        return values[:, None] * gates.reshape(*gates.shape, *[1] * (values.dim() - 2))

    def walk(self, values: Tensor, order: Tensor, start: int, out: Tensor) -> None:  # noqa: D102
        steps = torch.arange(start + 1, start + 1 + len(out), device=order.device)
        gone = torch.full((len(values),), len(values) + 1, device=order.device)
        gone[order] = torch.arange(len(order), device=order.device)
        kept = (gone[None] >= steps[:, None]).to(values.dtype)
        torch.mul(values, kept.reshape(*kept.shape, *[1] * (values.dim() - 1)), out=out)

    def walk_all(self, values: Tensor, orders: Tensor, depth: int) -> Tensor:  # noqa: D102
        leaves = torch.argsort(orders, dim=2)[:, :, None]  # at which step, [K, e, 1, n]
        kept = leaves > torch.arange(depth, device=orders.device)[:, None]
        return values[:, None] * kept.to(values.dtype).reshape(*kept.shape, *[1] * (values.dim() - 2))


class SummedEntry(Entry):
    """Coalitions enter behind the next convolution or linear layer, as sums of contributions of their units."""

    def __init__(self, graph: UnitGraph, following: NextLinear, values: Tensor, images: Tensor, rows: int, keep: int):
        super().__init__(graph, following.node, images, rows, need_values=False)
        self._inputs, self._keep = values, keep
        self._module = following.module
        bias = self._module.bias
        base = values.new_zeros(len(self._module.weight)) if bias is None else bias.detach()
        self._scale = torch.ones_like(base)
        if (norm := following.norm) is not None:
            assert norm.running_var is not None and norm.running_mean is not None  # noqa: PT018  seen to in next_linear
            self._scale = (norm.running_var + norm.eps).rsqrt() * (1 if norm.weight is None else norm.weight.detach())
            base = (base - norm.running_mean) * self._scale + (0 if norm.bias is None else norm.bias.detach())
        self._base = base.reshape(-1, *[1] * (len(self.shape) - 1)).expand(self.shape).reshape(-1)
        self._kept: Tensor | None = None

    def memory(self) -> int:  # noqa: D102
        return 4 * self._inputs.shape[1] * self.shape.numel()

    def prepare(self, examples: slice) -> Tensor:
        """What `enter` and `walk` need of some examples: the contributions, [e, n, numbers].

        Those of all examples are kept when they fit into ``keep`` bytes.
        """
        if self._kept is None and self.memory() * len(self._inputs) <= self._keep:
            self._kept = self._contributions(slice(None))
        return self._contributions(examples) if self._kept is None else self._kept[examples]

    def without(self, units: Tensor) -> SummedEntry:
        """The same entry with some units zero from the start."""
        other = copy.copy(self)
        other._inputs, other._kept = self._inputs.index_fill(1, units, 0), None
        return other

    def forget(self) -> None:
        """Free what is kept, and keep no more."""
        self._kept, self._keep = None, 0

    @torch.no_grad()
    def _contributions(self, examples: slice) -> Tensor:
        values = self._inputs[examples]
        weight = self._module.weight.detach()
        weight = weight * self._scale.reshape(-1, *[1] * (weight.dim() - 1))
        e, n = values.shape[:2]
        if isinstance(self._module, nn.Linear):
            each = weight.reshape(len(weight), n, -1)  # [out, n, positions]
            return torch.einsum("onp,enp->eno", each, values.reshape(e, n, -1))
        module = self._module
        assert isinstance(module, nn.Conv2d)
        patches = F.unfold(values, module.kernel_size, module.dilation, module.padding, module.stride)  # type: ignore[arg-type]
        patches = patches.reshape(e, n, -1, patches.shape[-1])  # [e, n, kernel, positions]
        kernels = weight.reshape(len(weight), n, -1).permute(1, 0, 2)  # [n, out, kernel]
        return (kernels @ patches).reshape(e, n, -1)

    def enter(self, contributions: Tensor, gates: Tensor) -> Tensor:  # noqa: D102
        sums = gates @ contributions
        return (sums + self._base).reshape(*gates.shape[:2], *self.shape)

    def walk(self, contributions: Tensor, order: Tensor, start: int, out: Tensor) -> None:  # noqa: D102
        # The sum starts anew in each call, so rounding does not pile up.
        before = torch.ones(1, len(contributions), device=order.device)
        before[:, order[:start]] = 0
        current = (before @ contributions)[0] + self._base
        rows = out.reshape(len(out), -1)
        leaving = order[start : start + len(rows)]
        if rows.device.type == "cpu" and rows.shape[1] >= _LOOP_FROM:
            for row, unit in zip(rows, leaving.tolist(), strict=True):
                current = torch.sub(current, contributions[unit], out=row)
        else:
            torch.sub(current, contributions[leaving].cumsum(0), out=rows)

    def walk_all(self, contributions: Tensor, orders: Tensor, depth: int) -> Tensor:  # noqa: D102
        leaving = orders[:, :, :depth, None].expand(-1, -1, -1, contributions.shape[2])
        lost = contributions.expand(len(orders), -1, -1, -1).gather(2, leaving).cumsum(2)
        entering = (contributions.sum(1) + self._base)[:, None] - lost
        return entering.reshape(*entering.shape[:3], *self.shape)
