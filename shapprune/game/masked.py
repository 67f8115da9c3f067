"""Coalitions that enter a network as the values of the layer, with the removed units set to zero."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor, fx

from shapprune.game.engine import Entry, Walks, select_rows
from shapprune.graph.layout import Layout
from shapprune.graph.unit_graph import UnitGraph


class MaskedEntry(Entry):
    """Coalitions enter as the values of the layer times the gates.

    Args:
        graph: the network.
        node: the value that is multiplied by the gates.
        images: the scoring images, [N, ...].
        rows: how many images go through the part before the cut together.
        layout: where the units lie in the value.
    """

    def __init__(self, graph: UnitGraph, node: fx.Node, images: Tensor, rows: int, layout: Layout):
        super().__init__(graph, node, images, rows, need_values=True)
        self._layout = layout

    @cached_property
    def values(self) -> Tensor:
        """The values with no unit removed, [N, n, ...], units on the second axis wherever the network has them."""
        assert isinstance(self.passing[0], Tensor)
        return self._layout.split(self.passing[0])

    def without(self, units: Tensor) -> MaskedEntry:
        """The same entry with some units zero in every coalition, int [k]."""
        if len(units) == 0:
            return self
        other = copy.copy(self)
        other.values = self.values.index_fill(1, units, 0)
        return other

    def memory(self) -> int:  # noqa: D102  as in Entry
        return 0  # `prepare` copies nothing

    def prepare(self, examples: slice) -> Tensor:  # noqa: D102
        return self.values[examples]

    def enter(self, values: Tensor, gates: Tensor) -> Tensor:  # noqa: D102
        return (values[:, None] * gates.reshape(*gates.shape, *[1] * (values.dim() - 2))).flatten(0, 1)

    def run(self, entering: Tensor, examples: Tensor) -> Tensor:  # noqa: D102
        return super().run(self._layout.join(entering), examples)

    def walks(self, values: Tensor) -> Walks:  # noqa: D102
        return MaskedWalks(values)


class MaskedWalks(Walks):
    """Walks whose rows are masked values.

    Args:
        values: of the prepared examples, [e, n, ...].
    """

    def __init__(self, values: Tensor):
        self._values = values

    def begin(self, example: Tensor, leaving: Tensor, rows: int) -> None:  # noqa: D102  as in Walks
        self._example = example
        self._leaves_at = torch.argsort(leaving, dim=1)  # the step at which each unit leaves, [W, n]

    def rows(self, step: Tensor, walk: Tensor, widths: Sequence[int]) -> Tensor:  # noqa: D102
        kept = (self._leaves_at[walk] > step[:, None]).to(self._values.dtype)
        values = select_rows(self._values, self._example[walk])
        return values.mul_(kept.reshape(*kept.shape, *[1] * (values.dim() - 2)))
