"""A network cut at one layer, with the scoring images: what all games of that layer share."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn

from shapprune.core.errors import ShapPruneError
from shapprune.game.batching import Piece
from shapprune.game.engine import Entry
from shapprune.game.masked import MaskedEntry
from shapprune.game.next_linear import next_linear
from shapprune.game.payoffs import Payoff
from shapprune.game.played_network import PlayedNetwork
from shapprune.game.summed import SummedEntry
from shapprune.graph.incoming import incoming_parts, incoming_weights
from shapprune.graph.layout import Layout
from shapprune.graph.outputs import map_tensors
from shapprune.graph.parts import Part
from shapprune.networks.modes import mode
from shapprune.networks.precision import at_precision

if TYPE_CHECKING:
    from shapprune.graph.dependents import Dependencies


class CutNetwork(PlayedNetwork):
    """A network cut at one layer, with the scoring images; see `PlayedNetwork`.

    The part before the cut is run once, when the values of an entry are first asked for.

    Args:
        model: the network.
        layer: name of the layer.
        images: scoring images, [N, ...].
        labels: their labels, [N], or None.
        site: where units are zeroed.
        memory_mb: as for `Batching`.
        precision: of the part after the cut.
        dependencies: of the network's units, where they are known already; then it is not traced again.

    Attributes:
        units: how many units the layer has, n.
        module: the layer.
        norm: the BatchNorm that follows it, or None.
        masked: the entry at the layer, behind the pooling that follows its site.

    Raises:
        ShapPruneError: as `PlayedNetwork`; an unknown site, a layer that cannot be played, or the network cannot be cut
            there.
    """

    def __init__(
        self,
        model: nn.Module,
        layer: str,
        images: Tensor,
        labels: Tensor | None,
        site: str,
        memory_mb: int,
        precision: str,
        dependencies: Dependencies | None = None,
    ):
        if dependencies is not None and dependencies.graph.modules[""] is not model:
            raise ShapPruneError("the dependencies are those of another network")
        graph = None if dependencies is None else dependencies.graph
        super().__init__(model, images, labels, memory_mb, precision, graph)
        self._dependencies = dependencies
        self.layer, self.site, self.players = layer, site, (layer, site)
        self._site = self._graph.site(layer, site)
        self._layout = self._graph.layout(layer)
        self._gates = self._graph.past_pooling(self._site, self._layout.axis)
        self.units: int = self._graph.units_of(layer)
        self.module: nn.Module = self._graph.modules[layer]
        self.norm = self._graph.norm_of(layer)
        self.masked = self._masked_at(self._gates)

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
        following = next_linear(self._graph, self._gates) if self._layout == Layout() else None
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
    def dependencies(self) -> Dependencies:
        """What depends on units of the network."""
        from shapprune.graph.dependents import Dependencies  # few games need it

        return self._dependencies or Dependencies(self.model, self.images[:2], self._graph)

    @cached_property
    def weights(self) -> list[Part]:
        """The parts of weights that make the units; see `incoming_parts`."""
        return incoming_parts(self._graph, self.layer, self.images[:2])

    @property
    def incoming(self) -> Tensor:
        """The weights that make each unit, float64 [n, k]."""
        return incoming_weights(self._graph, self.layer, self.images[:2])

    def _row_numbers(self) -> int:
        return self.masked.numbers

    def run(self, entry: Entry, entering: Tensor, examples: Tensor) -> Any:
        """Outputs of what enters, [rows, ...], for the example of each row, int [rows]."""
        with at_precision(self.precision, self.device):
            outputs = entry.run(entering, examples)
        numbers = entering.dtype
        return map_tensors(lambda each: each.to(numbers) if each.is_floating_point() else each, outputs)

    def gates(self, masks: Tensor, piece: Piece) -> Tensor:
        """The masks of a piece as gates, float [e, c, n]."""
        part = masks[piece.coalitions].transpose(0, 1)
        examples = piece.examples.stop - piece.examples.start
        part = part[piece.examples] if len(part) > 1 else part.expand(examples, -1, -1)
        return part.to(self.masked.values.dtype)

    def payoffs(self, entry: Entry, piece: Piece, gates: Tensor, payoffs: Sequence[Payoff]) -> Tensor:
        """What a piece is worth by each of some payoffs, [k, e, c]."""
        examples = torch.arange(piece.examples.start, piece.examples.stop, device=self.device)
        examples = examples.repeat_interleave(gates.shape[1])
        outputs = self.run(entry, entry.enter(piece.prepared, gates), examples)
        return self.worth(outputs, examples, payoffs).reshape(-1, *gates.shape[:2])
