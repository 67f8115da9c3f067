"""A network cut where each of its branches or blocks begins, with the scoring images.

Coalitions skip what they do not keep: it is not computed. Coalitions of an image that agree on the first branches share
what comes before the next: each of these beginnings runs once.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, fx, nn

from shapprune.game.engine import select_images
from shapprune.game.payoffs import Payoff
from shapprune.game.played_network import PlayedNetwork
from shapprune.graph.cut import PerImage
from shapprune.graph.operations import LAYERS
from shapprune.graph.outputs import map_tensors
from shapprune.graph.residual import find_parts
from shapprune.graph.skipping import Skipping, Values
from shapprune.networks.precision import at_precision


class Segment(NamedTuple):
    """The operations from where a player begins to where the next one begins.

    Attributes:
        nodes: the operations.
        entering: the values from before that are needed from here on.
        counts: the sizes from before that count images; each call counts its own rows.
        decisive: the players on which it depends what runs here.
    """

    nodes: list[fx.Node]
    entering: list[fx.Node]
    counts: dict[fx.Node, object]
    decisive: list[int]


class BranchNetwork(PlayedNetwork):
    """A network cut where each of its branches or blocks begins; see `PlayedNetwork`.

    Args:
        model: the network.
        kind: of the players, ``branches`` or ``blocks``.
        images: scoring images, [N, ...].
        labels: their labels, [N], or None.
        memory_mb: as for `Batching`.
        precision: of all that runs.

    Attributes:
        parts: the players, in the order they begin.
        shapes: shape of each value of the network for two images.

    Raises:
        ShapPruneError: as `PlayedNetwork` and `find_parts`; or the network cannot be cut where a player begins.
    """

    def __init__(
        self, model: nn.Module, kind: str, images: Tensor, labels: Tensor | None, memory_mb: int, precision: str
    ):
        super().__init__(model, images, labels, memory_mb, precision)
        self.parts = find_parts(self._graph, kind)
        self.shapes = self._graph.shapes
        self.layer, self.units, self.players = kind, len(self.parts), (kind, [part.name for part in self.parts])
        self._skipping = Skipping(self._graph, self.parts)
        self._segments = list(self._cut())
        entering = {node for segment in self._segments for node in segment.entering}
        self._of_image = {node: self._graph.company.rows_of(node) for node in entering}  # rows of each
        # Where a player lies inside others, it is skipped with them.
        additions = [{branch.addition for branch in part.branches} for part in self.parts]
        self._around = [[player for player, part in enumerate(self.parts) if each <= part.own] for each in additions]

    def _cut(self) -> Iterator[Segment]:
        """The segments; player k begins with segment k + 1."""
        nodes, sizes = self._skipping.nodes, self._graph.company.sizes
        place = {node: number for number, node in enumerate(nodes)}
        begins = [0, *(place[part.begin] for part in self.parts)]
        for begin, end in zip(begins, [*begins[1:], len(nodes)], strict=True):
            here = set(nodes[begin:end])
            needed = [node for node in nodes[:begin] if any(place[user] >= begin for user in node.users)]
            yield Segment(
                nodes[begin:end],
                [node for node in needed if node not in sizes] if begin else [self._skipping.images],
                {node: sizes[node] for node in needed if node in sizes},
                [
                    player
                    for player, part in enumerate(self.parts)
                    if here & part.own or here & {branch.addition for branch in part.branches}
                ],
            )

    def _row_numbers(self) -> int:
        return max(max(self._sizes()), self._beginning_numbers())

    def _beginning_numbers(self) -> int:
        """How many numbers a beginning keeps, at most, of one image."""
        return max(
            sum(self._graph.numbers_of(node) for node in segment.entering if self._of_image[node])
            for segment in self._segments
        )

    def values_by(self, masks: Tensor, payoffs: Sequence[Payoff]) -> Tensor:
        """What coalitions are worth by several payoffs, float [k, C, N].

        Args:
            masks: True = kept, bool [C, 1 or N, n].
            payoffs: k of them.
        """
        masks = masks.clone()
        for player, others in enumerate(self._around):
            masks[..., player] &= masks[..., others].all(2)

        def compute() -> Tensor:
            # Those of a place and those of the next are kept together; the other half of the memory is for the calls.
            most = max(1, self.batching.memory // (2 * 2 * 4 * self._beginning_numbers()))
            images = torch.arange(len(self.images), device=self.device)
            some = images.split(max(1, most // max(1, len(masks))))
            return torch.cat([self._values_of(each, masks, payoffs, most) for each in some], 2)

        with torch.no_grad():
            return self.within_memory(compute)

    def _values_of(self, images: Tensor, masks: Tensor, payoffs: Sequence[Payoff], most: int) -> Tensor:
        """What coalitions are worth to some images, float [k, C, e], with at most so many rows at a time."""
        kept = (masks[:, images] if masks.shape[1] > 1 else masks.expand(-1, len(images), -1)).flatten(0, 1)
        image = images.repeat(len(masks))
        order = _by_beginning(kept) if len(kept) > most else torch.arange(len(kept), device=self.device)
        found = torch.cat([self._values_of_rows(kept[some], image[some], payoffs) for some in order.split(most)], 1)
        return found[:, order.argsort()].reshape(len(payoffs), len(masks), len(images))

    def _values_of_rows(self, kept: Tensor, image: Tensor, payoffs: Sequence[Payoff]) -> Tensor:
        """What rows are worth, float [k, rows]. They go from segment to segment, those that begin alike as one.

        Args:
            kept: the players that each row keeps, bool [rows, n].
            image: of each row, int [rows].
            payoffs: k of them.
        """
        image, beginning = image.unique(return_inverse=True)
        before, past = torch.arange(len(image), device=self.device), kept.new_empty(len(image), 0)
        values: Values = {self._skipping.images: self.images[image]}
        worth: list[Tensor] = []
        for number, segment in enumerate(self._segments):
            if number:
                # Two ways to go on, where some of the rows keep the next player and others do not.
                way, beginning = (2 * beginning + kept[:, number - 1]).unique(return_inverse=True)
                before, image = way // 2, image[way // 2]
                past = torch.cat([past[way // 2], way[:, None] % 2 > 0], 1)
            found: list[Values] = []
            order: list[Tensor] = []
            for some, skipped in self._calls(segment, past):
                entering = self._entering(segment, values, before[some])
                with at_precision(self.precision, self.device):
                    found.append(self._skipping.run(segment.nodes, entering, skipped))
                order.append(some)
                if segment is self._segments[-1]:
                    worth.append(self.worth(_as_float(found.pop()[self._skipping.output]), image[some], payoffs))
            placed = torch.cat(order)
            beginning, image, past = placed.argsort()[beginning], image[placed], past[placed]
            if segment is not self._segments[-1]:
                values = self._join(self._segments[number + 1].entering, found, order)
        return torch.cat(worth, 1)[:, beginning]

    def _calls(self, segment: Segment, past: Tensor) -> Iterator[tuple[Tensor, list[int]]]:
        """The rows of a segment that share a call, and what is skipped in it.

        Args:
            segment: which.
            past: the players that each row has kept or skipped so far, bool [rows, ...].
        """
        decided = [player for player in segment.decisive if player < past.shape[1]]
        way = (past[:, decided].long() << torch.arange(len(decided), device=self.device)).sum(1)
        numbers = [self._graph.numbers_of(node) for node in segment.nodes if node in self.shapes]
        rows = self.batching.rows_of(max([self._beginning_numbers(), *numbers]))
        for bits in way.unique().tolist():
            skipped = [player for place, player in enumerate(decided) if not bits >> place & 1]
            for some in (way == bits).nonzero()[:, 0].split(rows):
                yield some, skipped

    def _entering(self, segment: Segment, values: Values, rows: Tensor) -> Values:
        """What enters a segment for some rows of the values before."""
        chosen = {
            node: select_images(value, rows, self._of_image[node]) if self._of_image[node] else value
            for node, value in values.items()
        }
        return chosen | {node: _count(size, len(rows)) for node, size in segment.counts.items()}

    def _join(self, nodes: Sequence[fx.Node], found: Sequence[Values], rows: Sequence[Tensor]) -> Values:
        """The values of several calls under each other; where a call has skipped one that others have, zeros."""
        joined: Values = {}
        for node in nodes:
            present = [values[node] for values in found if node in values]
            if present and not self._of_image[node]:
                joined[node] = present[0]
            elif present:
                like, of_image = present[0], self._of_image[node]
                joined[node] = torch.cat([
                    values[node] if node in values else like.new_zeros(of_image * len(some), *like.shape[1:])
                    for values, some in zip(found, rows, strict=True)
                ])  # fmt: skip
        return joined

    def gate_gradient(self, gates: Tensor, payoff: Payoff) -> tuple[Tensor, Tensor]:
        """Payoffs of gates that multiply the branches, float [C, N], and their gradients, float [C, N, n].

        Args:
            gates: [C, 1 or N, n].
            payoff: of one example.
        """
        worth = torch.empty(len(gates), len(self.images), device=self.device)
        result = torch.empty(*worth.shape, self.units, device=self.device)

        def compute() -> None:
            rows = self.batching.images(sum(self._sizes()), 2)
            images = torch.arange(len(self.images), device=self.device)
            for one, some in itertools.product(range(len(gates)), images.split(rows)):
                at = (gates[one, some] if gates.shape[1] > 1 else gates[one].expand(len(some), -1)).float()
                at = at.clone().requires_grad_(True)
                with at_precision(self.precision, self.device):
                    entering = {self._skipping.images: self.images[some]}
                    found = self._skipping.run(self._skipping.nodes, entering, (), at)
                (values,) = self.worth(_as_float(found[self._skipping.output]), some, [payoff])
                (result[one, some],) = torch.autograd.grad(values.sum(), at)
                worth[one, some] = values.detach().to(worth.dtype)

        with torch.enable_grad():
            self.within_memory(compute)
        return worth, result

    def feature_axis(self, player: int) -> int:
        """The axis on which the features lie in the values before and after a player.

        It is the one as long as the last layer of the player has units, the second for convolutions and the last
        otherwise where several are.
        """
        part, axis = self.parts[player], -1
        for node in (node for node in self._skipping.nodes if node in part.own and node.op == "call_module"):
            module = self._graph.modules[str(node.target)]
            if isinstance(module, LAYERS):
                axes = (-1, 1) if isinstance(module, nn.Linear) else (1, -1)
                units, shape = self._graph.units_of(str(node.target)), self.shapes[part.after]
                axis = next((each for each in axes if shape[each] == units), axis)
        return axis

    def through(self, function: Callable[[int, Tensor, Tensor, Tensor], Tensor], gone: Sequence[int]) -> Tensor:
        """What a function says of the values before and after each player, float64 [N, n].

        Args:
            function: of a player, the values that go into it and come out, [e, ...], with its shortcut, and the places
                of these images; [e].
            gone: players that are skipped; they change nothing.
        """
        result = torch.zeros(len(self.images), self.units, dtype=torch.float64, device=self.device)
        leaving = {part.after: player for player, part in enumerate(self.parts)}
        rows = self.batching.images(sum(self._sizes()))

        def compute() -> None:
            for some in torch.arange(len(self.images), device=self.device).split(rows):
                kept: Values = {part.before: None for part in self.parts}

                def watch(node: fx.Node, value: Any, some: Tensor = some, kept: Values = kept) -> None:
                    if node in leaving:
                        player = leaving[node]
                        before = kept[self.parts[player].before]
                        result[some, player] = function(player, before, value, some).double()
                    if node in kept:
                        kept[node] = value.clone()  # what follows may change it in place

                watch(self._skipping.images, images := self.images[some])
                self._skipping.run(self._skipping.nodes, {self._skipping.images: images}, gone, watch=watch)

        with torch.no_grad():
            self.within_memory(compute)
        return result


def _by_beginning(kept: Tensor) -> Tensor:
    """The order of coalitions [C, n] in which those that agree on the first players are neighbours, int [C]."""
    return torch.from_numpy(np.lexsort(kept.cpu().numpy().T[::-1])).to(kept.device)


def _count(size: Any, rows: int) -> Any:
    """What a size is for so many rows."""
    if isinstance(size, PerImage):
        return size.number * rows
    return torch.Size(_count(each, rows) for each in size) if isinstance(size, tuple) else size


def _as_float(outputs: Any) -> Any:
    """Outputs that were made at a lower precision, as float32."""
    return map_tensors(lambda each: each.float() if each.dtype in (torch.bfloat16, torch.half) else each, outputs)
