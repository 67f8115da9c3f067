"""How long a network takes with other widths, from a table measured on its device."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from torch import Tensor

from shapprune.core.errors import ShapPruneError
from shapprune.core.progress import track
from shapprune.networks.latency import measure_latencies, measure_latency
from shapprune.pruning.removal import remove_units
from shapprune.pruning.selection import Structure

# Shares of a layer's units with which the network is timed.
LEVELS = (0.25, 0.5, 0.75)
_REPEATS = 15
# Times that a network is made smaller because it took longer than the table says.
_TRIES = 8


class Milliseconds:
    """Times a network with each layer at a few widths; what several layers save is added up.

    Args:
        structure: of the network.
        example: an image that it can run on, [1, ...].
        progress: report progress.

    Attributes:
        whole: milliseconds of the whole network.
        spread: the largest distance between the quartiles of a timing, in milliseconds.
    """

    def __init__(self, structure: Structure, example: Tensor, progress: bool = False):
        self._structure, self._example = structure, example
        timing = measure_latency(structure.model, example, repeats=2 * _REPEATS)
        self.whole, self.spread = timing.median_ms, timing.quartiles_ms[1] - timing.quartiles_ms[0]
        self._saved: dict[str, tuple[list[int], list[float]]] = {}
        layers = list(structure.groups)
        for layer in track(layers, "timing layers") if progress else layers:
            units = structure.sizes.full[layer]
            widths = sorted({max(1, round(share * units)) for share in LEVELS} - {units})
            saved = [self.whole - self.measure({layer: width}) for width in widths]
            # A narrower layer is never slower, whatever a timing says.
            falling = np.maximum.accumulate([0.0, *reversed(saved)])[::-1]
            self._saved[layer] = [*widths, units], falling.tolist()

    def measure(self, widths: Mapping[str, int]) -> float:
        """Time the network with some widths, in turns with the whole one: as if that took what it did at first.

        First quartiles are compared: on a busy machine they are steadier than medians, and than the fastest passes.
        """
        full = self._structure.sizes.full
        orders = {layer: range(full[layer]) for layer in widths}
        small = remove_units(self._structure.model, self._structure.removed(orders, widths), self._example)
        timing, whole = measure_latencies([small, self._structure.model], self._example, repeats=_REPEATS)
        self.spread = max(self.spread, timing.quartiles_ms[1] - timing.quartiles_ms[0])
        return self.whole * timing.quartiles_ms[0] / whole.quartiles_ms[0]

    def estimate(self, widths: np.ndarray) -> np.ndarray:
        """What networks take by the table; widths of all layers, int [C, layers] -> milliseconds, [C]."""
        saved = [np.interp(widths[:, place], *self._saved[layer]) for place, layer in enumerate(self._saved)]
        return self.whole - np.sum(saved, 0)

    def fit(self, find: Callable[[float], dict[str, int]], limit: float) -> dict[str, int]:
        """Find widths with which the network is measured to be within a limit.

        Args:
            find: finds widths for which the table says at most so many milliseconds.
            limit: milliseconds.

        Raises:
            ShapPruneError: the limit cannot be met.
        """
        aim = limit
        for _ in range(_TRIES):
            widths = find(aim)
            taken = self.measure(widths)
            if taken <= limit:
                return widths
            aim *= 0.98 * limit / taken
        raise ShapPruneError(f"{limit:.4g} milliseconds cannot be met: the network was measured to take {taken:.4g}")
