"""Where coalitions enter the part of a network behind a layer, and how removal orders are walked there.

A coalition is given by a gate for each unit: 1 if the unit is kept, 0 if it is removed. There are two kinds of entry:

* `shapprune.game.masked.MaskedEntry` multiplies the layer's values by the gates. It works for every layer.
* `shapprune.game.summed.SummedEntry` enters behind the next convolution or linear layer. What that layer puts out is
  linear in the gates: one contribution a unit, and a constant.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor, fx

from shapprune.core.errors import ShapPruneError
from shapprune.game.tail import make_ready
from shapprune.graph.cut import cut_at
from shapprune.graph.outputs import are_close, map_tensors
from shapprune.graph.unit_graph import UnitGraph
from shapprune.networks.modes import mode, outside_inference
from shapprune.networks.precision import at_precision


class Walks(ABC):
    """Removal orders of prepared examples, walked side by side. A walk is one order of one example."""

    @abstractmethod
    def begin(self, example: Tensor, leaving: Tensor, rows: int) -> None:
        """Begin new walks.

        Args:
            example: the place of each walk's example among the prepared ones, int [W].
            leaving: the units of each walk in the order in which they leave, int [W, n].
            rows: the largest number of rows that one call of `rows` will ask for.
        """

    @abstractmethod
    def rows(self, step: Tensor, walk: Tensor, widths: Sequence[int]) -> Tensor:
        """What enters the network at the next steps. Each call goes on where the one before ended.

        Args:
            step: the step of each row, int [rows]; at step j the first j + 1 units of the order are gone.
            walk: the walk of each row, int [rows]. Rows are sorted by step, and within a step by walk from 0 on.
            widths: the number of walks in each of the steps; it never grows from one step to the next.

        Returns:
            [rows, ...]; the next call may overwrite it.
        """


class Entry(ABC):
    """A place where coalitions enter a network.

    The part before the cut runs once, when what comes out of it is first asked for: many criteria never do.

    Args:
        graph: the network.
        node: the value at which it is cut.
        images: the scoring images, [N, ...].
        rows: how many images go through the part before the cut together.
        need_values: whether that part is run even if no other value crosses the cut.

    Attributes:
        cut: the network, cut there.
        shape: shape of what enters for one example.
        numbers: size of the largest value of one example from there on, a measure of memory.
        channels_last: whether what enters has its channels last in memory.
    """

    def __init__(self, graph: UnitGraph, node: fx.Node, images: Tensor, rows: int, need_values: bool):
        rows_of = graph.company.rows_of
        self.cut = cut_at(graph.traced, node, graph.company.sizes, rows_of(node))
        self._rows = [rows_of(each) for each in (node, *self.cut.beside)]  # of an image
        self.shape = graph.shapes[node][1:]
        self.numbers = max(graph.numbers_of(each) for each in self.cut.nodes if each in graph.shapes)
        self._traced, self._images, self._images_at_once = graph.traced, images, rows
        self._need_values = need_values or bool(self.cut.crossing)
        with mode(graph.traced, training=False):
            self._convolved_last = make_ready(self.cut, graph.shapes, images.is_cuda)
        # If no convolution follows, the maps are small; those are fastest to make with their channels last.
        self.channels_last = len(self.shape) == 3 and self._convolved_last is not False

    @cached_property
    @outside_inference
    @torch.no_grad()
    def passing(self) -> list[Tensor | object]:
        """The values that cross the cut for all examples, the one it is made at first; empty if not needed."""
        if not self._need_values:
            return []
        with mode(self._traced, training=False), at_precision("fp32", self._images.device):
            parts = [self.cut.before(some.clone()) for some in self._images.split(self._images_at_once)]
        together = [
            torch.cat(each) if of_image else each[0]
            for each, of_image in zip(zip(*parts, strict=True), self._rows, strict=True)
        ]
        return [_with_channels_last(each) for each in together] if self._convolved_last else together

    @abstractmethod
    def memory(self) -> int:
        """Bytes that `prepare` takes for one example."""

    @abstractmethod
    def prepare(self, examples: slice) -> Tensor:
        """What `enter` and `walks` need for some examples; the first axis is the examples."""

    @abstractmethod
    def enter(self, prepared: Tensor, gates: Tensor) -> Tensor:
        """What enters for coalitions of prepared examples; gates [e, c, n] -> [e * c, ...]."""

    @abstractmethod
    def walks(self, prepared: Tensor) -> Walks:
        """Removal orders of prepared examples."""

    def run(self, entering: Tensor, examples: Tensor) -> Tensor:
        """Outputs of the network.

        Args:
            entering: what enters, [rows, ...]; it may be overwritten.
            examples: the example of each row, int [rows].
        """
        beside = [
            select_images(each, examples, of_image) if of_image and isinstance(each, Tensor) else each
            for each, of_image in zip(self.passing[1:], self._rows[1:], strict=True)
        ]
        return self.cut.after(entering, *beside)

    def check(self, outputs: object) -> None:
        """Run each of the first images twice in one batch, no unit removed, and compare with the whole network.

        It is asked for before anything has passed the cut, so that no more than these images do.

        Args:
            outputs: of the whole network for the first images, [e, ...].

        Raises:
            ShapPruneError: they differ, so coalitions cannot share a batch.
        """
        first = copy.copy(self)
        first._images = self._images[:2]
        prepared = first.prepare(slice(0, 2))
        few = len(prepared)
        twice = torch.arange(few, device=prepared.device).repeat_interleave(2)
        try:
            with torch.no_grad():
                found = first.run(first.enter(prepared, prepared.new_ones(few, 2, prepared.shape[1])), twice)
        except RuntimeError:
            found = None
        expected = map_tensors(lambda each: each[twice], outputs)
        if not are_close(found, expected):
            raise ShapPruneError(
                "the network cannot be cut here: the part after the cut depends on the size of the batch"
            )


def select_images(values: Tensor, examples: Tensor, of_image: int) -> Tensor:
    """The rows of some examples, of values with so many rows an image."""
    if of_image == 1:
        return select_rows(values, examples)
    return values.unflatten(0, (-1, of_image)).index_select(0, examples).flatten(0, 1)


def select_rows(values: Tensor, rows: Tensor) -> Tensor:
    """Rows of values, in the memory format of the values."""
    if values.dim() == 4 and values.is_contiguous(memory_format=torch.channels_last):
        return values.movedim(1, -1).index_select(0, rows).movedim(-1, 1)
    return values.index_select(0, rows)


def _with_channels_last(value: Tensor | object) -> Tensor | object:
    if isinstance(value, Tensor) and value.dim() == 4:
        return value.contiguous(memory_format=torch.channels_last)
    return value
