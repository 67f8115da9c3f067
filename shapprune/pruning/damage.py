"""What the outputs of a network lose when one layer loses units and all others are whole."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from shapprune.criteria.elimination import Reading
from shapprune.game.tail import make_ready
from shapprune.graph.cut import cut_at
from shapprune.graph.outputs import map_tensors
from shapprune.graph.tracing import record_again
from shapprune.graph.unit_graph import UnitGraph
from shapprune.networks.batches import in_batches
from shapprune.pruning.divergence import answers, divergence, run_intact

# Shares of a layer's units at which the damage is measured, the least being one unit; between them it is interpolated.
LEVELS = (0, 1 / 32, 1 / 16, 1 / 8, 3 / 16, 1 / 4, 3 / 8, 1 / 2, 5 / 8, 3 / 4, 7 / 8)
# Outputs are compared at this temperature. A network that is sure of its answers, as it is on images that it was
# trained on, hides small changes of its outputs, and those of all layers together are no longer small.
_TEMPERATURE = 4.0
# Images that run at a time.
_BATCH = 50


@dataclass(frozen=True)
class Damage:
    """What the outputs lose when a layer loses units in some order and the layers that read them make up for it.

    Attributes:
        order: the units from the first to leave to the last, [n].
        measured: number of units left -> mean Kullback-Leibler divergence of the outputs from those of the whole
            network at a temperature of 4, in nats; for all units 0.
        lost: share of the readers' variance that is lost with the first j units gone, [n + 1].
    """

    order: list[int]
    measured: dict[int, float]
    lost: list[float]

    @property
    def units(self) -> int:
        """How many units the layer has."""
        return len(self.order)

    def at(self, width: int) -> float:
        """The divergence with so many units left; between measured widths it follows what the readers lose."""
        below = max((each for each in self.measured if each <= width), default=min(self.measured))
        above = min(each for each in self.measured if each >= width)
        low, high = self.measured[below], self.measured[above]
        if below >= above:
            return low
        most, least, here = (self.lost[self.units - each] for each in (below, above, width))
        share = (most - here) / (most - least) if most > least else (width - below) / (above - below)
        return low + (high - low) * share

    def table(self, multiple: int = 1) -> dict[int, float]:
        """The divergence at every number of units left that is a multiple of a number, and at all units.

        It never falls when units leave: where it was measured to, the units that help nobody leave first.
        """
        widths = [width for width in range(1, self.units + 1) if width % multiple == 0 or width == self.units]
        found = np.maximum.accumulate([self.at(width) for width in reversed(widths)])
        return dict(zip(widths, reversed(found.tolist()), strict=True))


def levels(units: int, multiple: int = 1) -> list[int]:
    """The numbers of units left at which the damage of a layer is measured, in increasing order.

    Examples:
        >>> from shapprune.pruning.damage import levels
        >>> levels(16)
        [1, 2, 3, 4, 6, 8, 10, 12, 14]
        >>> levels(16, multiple=8)
        [8]
    """
    rounded = {min(units, multiple * max(1, round(share * units / multiple))) for share in LEVELS}
    return sorted(each for each in rounded if each < units)


class DamageMeter:
    """Measures damage on calibration images.

    Args:
        graph: of the network, which is left as it is.
        images: calibration images, [N, ...].
    """

    @torch.no_grad()
    def __init__(self, graph: UnitGraph, images: Tensor):
        self._model = copy.deepcopy(graph.modules[""]).eval()
        self._graph = UnitGraph(self._model, images[:2], record_again(graph.traced, self._model))
        self._images = images
        self._batch = self._graph.at_once(_BATCH)
        self._whole = run_intact(self._model, images, self._batch)

    @torch.no_grad()
    def measure(
        self, readings: Mapping[str, Reading], fits: Iterable[tuple[int, Sequence[Tensor]]]
    ) -> dict[int, float]:
        """Measure the damage of a layer at some numbers of units.

        Args:
            readings: the layers that read its units, in the order they run, and how.
            fits: numbers of units left, and the weights of these layers fitted to them.

        Returns:
            Number of units left -> divergence in nats; for all units 0.
        """
        after, values = self._cut(list(readings))
        measured = {len(next(iter(readings.values())).places): 0.0}
        for width, weights in fits:
            with self._changed(readings, weights):
                found = (after(*map_tensors(torch.clone, batch)) for batch in values)
                outputs = torch.cat([answers(each, len(self._images)) for each in found])
            measured[width] = float(divergence(self._whole, outputs, _TEMPERATURE))
        return measured

    def _cut(self, readers: Sequence[str]) -> tuple[nn.Module, list[tuple[Tensor, ...]]]:
        """The network from the first of some layers on, and what enters it."""
        sites = [self._graph.calls[name][0] for name in readers]
        value = sites[0].all_input_nodes[0]
        cut = cut_at(self._graph.traced, value, self._graph.company.sizes, self._graph.company.rows_of(value))
        if not all(site in cut.nodes for site in sites):
            return self._model, [(batch,) for batch in in_batches(self._images, self._batch)]
        make_ready(cut, self._graph.shapes, self._images.is_cuda, readers)
        return cut.after, [cut.before(batch) for batch in in_batches(self._images, self._batch)]

    @contextmanager
    def _changed(self, readings: Mapping[str, Reading], weights: Sequence[Tensor]) -> Iterator[None]:
        """Give layers other weights, and what makes up for the mean of what they lose."""
        before = []
        for (name, reading), fitted in zip(readings.items(), weights, strict=True):
            weight = self._graph.modules[name].get_parameter("weight")
            shift, sign = self._intercept(name)
            before += [(each, each.clone()) for each in (weight, shift) if each is not None]
            weight.copy_(fitted.mT.reshape(weight.shape))
            if shift is not None:
                shift.add_(sign * (reading.means @ (reading.weights - fitted)))
        try:
            yield
        finally:
            for tensor, values in before:
                tensor.copy_(values)

    def _intercept(self, name: str) -> tuple[Tensor | None, int]:
        """What takes the intercept of a layer, and with which sign."""
        bias, norm = self._graph.modules[name].bias, self._graph.norm_behind(name)
        if isinstance(bias, Tensor):
            return bias, 1
        return (None, 1) if norm is None else (self._graph.modules[norm].get_buffer("running_mean"), -1)
