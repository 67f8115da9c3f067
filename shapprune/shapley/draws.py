"""Random draws that depend on the seed, the layer, the example and the number of the draw, and on nothing else.

So the same example gets the same orders whatever the chunk size, the number of workers or the split of the scoring set.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from shapprune.game import LayerGame

MOST_GROUPS = 32  # of draws whose means are kept: enough to tell an error from
SHARED = 2**32 - 1  # the "example" whose draws all examples share


def generator(seed: int, layer: str, example: int | np.integer, draw: int) -> np.random.Generator:
    """The random generator of one draw for one example."""
    return np.random.default_rng([seed, zlib.crc32(layer.encode()), int(example), draw])


def draw_orders(game: LayerGame, draw: int, seed: int, shared: bool) -> np.ndarray:
    """A random removal order for each example, int [N, n] (the same in every row if ``shared``)."""
    if shared:
        return np.tile(generator(seed, game.layer, SHARED, draw).permutation(game.units), (len(game), 1))
    return np.stack([generator(seed, game.layer, each, draw).permutation(game.units) for each in game.examples])


def draw_coalitions(game: LayerGame, draw: int, seed: int, low: float, high: float) -> np.ndarray:
    """A random coalition for each example, bool [N, n], its inclusion probability uniform on [low, high)."""
    rows = []
    for each in game.examples:
        random = generator(seed, game.layer, each, draw)
        probability = random.uniform(low, high)
        rows.append(random.random(game.units) < probability)
    return np.stack(rows)


class Draws:
    """Values of examples that come in draws: their mean, and independent groups of them to tell its error from.

    Args:
        draws: how many will come.
        together: how many in a row depend on each other (2 for antithetic pairs); they stay in one group.
    """

    def __init__(self, draws: int, together: int = 1):
        self._draws, self._together = draws, together
        units = -(-draws // together)
        self._groups = min(units, MOST_GROUPS)
        self._sums: Tensor | None = None
        self._counts = np.zeros(self._groups, dtype=np.int64)
        self._seen = 0

    def add(self, values: Tensor) -> None:
        """Take the next draws, [K, N, n]."""
        if self._sums is None:
            self._sums = values.new_zeros(self._groups, *values.shape[1:], dtype=torch.float64)
        for one in values:
            group = self._seen // self._together % self._groups
            self._sums[group] += one
            self._counts[group] += 1
            self._seen += 1

    def result(self) -> tuple[Tensor, Tensor]:
        """The mean over all draws, float64 [N, n], and the means of the groups, float32 [G, N, n]."""
        assert self._sums is not None
        begun = int((self._counts > 0).sum())
        counts = torch.from_numpy(self._counts[:begun]).to(self._sums.device)
        groups = self._sums[:begun] / counts.reshape(-1, 1, 1)
        return self._sums.sum(0) / self._seen, groups.float()
