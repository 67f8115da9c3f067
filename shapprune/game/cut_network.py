"""A network cut at one layer, with the scoring images: what all games of that layer share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, fx, nn

from shapprune.core.errors import ShapPruneError, unknown
from shapprune.game.batching import Batching, Piece
from shapprune.game.engine import Entry
from shapprune.game.masked import MaskedEntry
from shapprune.game.payoffs import Payoff
from shapprune.game.summed import SummedEntry
from shapprune.graph.exporting import Transposed
from shapprune.graph.head_parts import head_parts
from shapprune.graph.layout import Layout
from shapprune.graph.operations import has_own_weights
from shapprune.graph.outputs import map_tensors
from shapprune.graph.parts import Part
from shapprune.graph.unit_graph import UnitGraph
from shapprune.networks.modes import mode
from shapprune.networks.precision import PRECISIONS, at_precision

T = TypeVar("T")


class CutNetwork:
    """A network cut at one layer, with the scoring images.

    The part before the cut is run once, when an entry is first asked for. The network is used in eval mode and handed
    back as it came.

    Args:
        model: the network.
        layer: name of the layer.
        images: scoring images, [N, ...].
        labels: their labels, [N].
        site: where units are zeroed.
        memory_mb: as for `Batching`.
        precision: of the part after the cut.

    Attributes:
        device: where the network, the images and the labels are.
        outputs: of the network for the first two images.
        batching: how many rows share a call.
        units: how many units the layer has, n.
        module: the layer.
        norm: the BatchNorm that follows it, or None.

    Raises:
        ShapPruneError: an unknown precision or site, a network that cannot be traced or mixes images, images that
            are not finite, or a layer that cannot be played.
    """

    def __init__(
        self, model: nn.Module, layer: str, images: Tensor, labels: Tensor, site: str, memory_mb: int, precision: str
    ):
        if precision not in PRECISIONS:
            raise unknown("precision", precision, PRECISIONS)
        self.model, self.layer, self.site, self.precision = model, layer, site, precision
        self.device = next((each.device for each in model.parameters()), torch.device("cpu"))
        self.images, self.labels = images.to(self.device), _as_int64(labels).to(self.device)
        self.batching = Batching(self.device, len(images), memory_mb)
        if (wrong := ~self.images.flatten(1).isfinite().all(1)).any():
            raise ShapPruneError(f"scoring image {int(wrong.nonzero()[0])} has numbers that are not finite")
        self._graph = UnitGraph(model, self.images[:2])
        self._graph.company.require_independence()
        self.outputs = self._graph.outputs
        self._site = self._graph.site(layer, site)
        self._layout = self._graph.layout(layer)
        self._gates = self._graph.past_pooling(self._site, self._layout.axis)
        self.units: int = self._graph.units_of(layer)
        self.module: nn.Module = self._graph.modules[layer]
        self.norm = self._graph.norm_of(layer)

    @cached_property
    def masked(self) -> MaskedEntry:
        """The entry at the layer, behind the pooling that follows its site.

        Raises:
            ShapPruneError: the network cannot be cut there.
        """
        return self._masked_at(self._gates)

    @cached_property
    def at_site(self) -> MaskedEntry:
        """The entry at the site itself, before any pooling."""
        return self.masked if self._site is self._gates else self._masked_at(self._site)

    def _masked_at(self, node: fx.Node) -> MaskedEntry:
        with mode(self.model, training=False), at_precision("fp32", self.device):
            entry = MaskedEntry(self._graph, node, self.images, self._images_at_once(), self._layout)
            entry.check(self.outputs)
        return entry

    @cached_property
    def summed(self) -> SummedEntry | None:
        """The entry behind the next layer, or None where the network cannot be entered there."""
        following = self._graph.next_linear(self._gates) if self._layout == Layout() else None
        if following is None:
            return None
        cache_bytes = self.batching.memory // 2
        with mode(self.model, training=False), at_precision("fp32", self.device):
            try:
                entry = SummedEntry(
                    self._graph, following, self.masked.values, self.images, self._images_at_once(), cache_bytes
                )
                entry.check(self.outputs)
            except ShapPruneError:
                return None
        return entry

    @cached_property
    def weights(self) -> list[Part]:
        """The parts of weights that make the units.

        Raises:
            ShapPruneError: the weights of the layer are computed from others in each pass.
        """
        if self.layer in self._graph.attentions:
            parts, _ = head_parts(self._graph, self.layer, self.images[:2])
            return [each for each in parts if self.model.get_parameter(each.name).dim() > 1]
        if not has_own_weights(self.module):
            raise ShapPruneError(
                f"the weights of layer {self.layer!r} are computed from others, so they have no gradient"
            )
        return [Part(self.layer, "weight", int(isinstance(self.module, Transposed)), torch.arange(self.units)[:, None])]

    def _sizes(self) -> list[int]:
        """The size of every value of the network for one image."""
        return [self._graph.numbers_of(node) for node in self._graph.shapes]

    def _images_at_once(self) -> int:
        return self.batching.images(max(self._sizes()))

    def within_memory(self, compute: Callable[[], T], free: Callable[[], object] = lambda: None) -> T:
        """Run a computation in eval mode and float32; each time the device has no memory left, halve the budget.

        Args:
            compute: the computation; it is run again from its beginning.
            free: frees what is cached, before that.
        """
        while True:
            try:
                with mode(self.model, training=False), at_precision("fp32", self.device):
                    return compute()
            except torch.OutOfMemoryError:
                if not self.batching.halve(max(self.masked.numbers, self.masked.values[0].numel())):
                    raise
                free()
                torch.cuda.empty_cache()

    def sum_over_images(
        self, function: Callable[[Tensor, Tensor], Sequence[Tensor]], passes: int
    ) -> tuple[Tensor, ...]:
        """Sum what a function of images and labels returns, over batches of the scoring images, in float64.

        Args:
            function: its tensors are sums over the images given; gradients are on.
            passes: what it costs, as in `LayerGame.sum_over_images`.
        """
        # All values are kept for the backward pass; for a second backward pass those of the first one too.
        numbers, kept = sum(self._sizes()), 1 + passes // 2

        def compute() -> tuple[Tensor, ...]:
            rows = self.batching.images(numbers, kept)
            total: tuple[Tensor, ...] = ()
            for images, labels in zip(self.images.split(rows), self.labels.split(rows), strict=True):
                found = [each.detach().double() for each in function(images, labels)]
                total = tuple(map(torch.add, total, found)) if total else tuple(found)
            return total

        with torch.enable_grad():
            return self.within_memory(compute)

    def run(self, entry: Entry, entering: Tensor, examples: Tensor) -> Any:
        """Outputs of what enters, [rows, ...], for the example of each row, int [rows]."""
        with at_precision(self.precision, self.device):
            outputs = entry.run(entering, examples)
        numbers = entering.dtype
        return map_tensors(lambda each: each.to(numbers) if each.is_floating_point() else each, outputs)

    def masks(self, coalitions: Tensor | np.ndarray, between: bool = False) -> Tensor:
        """Coalitions as a tensor [C, 1 or N, n] on the device.

        Args:
            coalitions: bool [C, n] or [C, N, n].
            between: whether gates between 0 and 1 are allowed too.

        Raises:
            ShapPruneError: another shape or type.
        """
        masks = torch.as_tensor(coalitions).to(self.device)
        if masks.dtype != torch.bool and not (between and masks.is_floating_point()):
            raise ShapPruneError(f"coalitions are {masks.dtype}, bool is needed (True = the unit is kept)")
        if masks.dim() == 2:
            masks = masks[:, None]
        examples = len(self.images)
        if masks.dim() != 3 or masks.shape[2] != self.units or masks.shape[1] not in (1, examples):
            raise ShapPruneError(
                f"coalitions have shape {tuple(masks.shape)}, "
                f"[C, {self.units}] or [C, {examples}, {self.units}] is needed"
            )
        return masks

    def gates(self, masks: Tensor, piece: Piece) -> Tensor:
        """The masks of a piece as gates, float [e, c, n]."""
        part = masks[piece.coalitions].transpose(0, 1)
        examples = piece.examples.stop - piece.examples.start
        part = part[piece.examples] if len(part) > 1 else part.expand(examples, -1, -1)
        return part.to(self.masked.values.dtype)

    def payoffs(self, entry: Entry, piece: Piece, gates: Tensor, payoff: Payoff) -> Tensor:
        """What a piece is worth, [..., e, c]; ``payoff`` returns [..., rows]."""
        examples = torch.arange(piece.examples.start, piece.examples.stop, device=self.device)
        examples = examples.repeat_interleave(gates.shape[1])
        outputs = self.run(entry, entry.enter(piece.prepared, gates), examples)
        values = payoff(outputs, self.labels[examples])
        return values.reshape(*values.shape[:-1], *gates.shape[:2])


def _as_int64(labels: Tensor) -> Tensor:
    """Whole numbers of any type as int64, as losses and indices take them; others as they are."""
    return labels if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool else labels.long()
