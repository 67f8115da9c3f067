"""Random draws, which depend on the seed, the layer, the example and the number of the draw only.

So an example has the same orders for any chunk size, number of workers and split of the scoring set.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from shapprune.shapley.unfinished import Unfinished

if TYPE_CHECKING:
    from shapprune.game.protocol import Game

MOST_GROUPS = 32  # groups of draws whose means are kept, enough to estimate a standard error
SHARED = 2**32 - 1  # the "example" whose draws all examples share


def generator(seed: int, layer: str, example: int | np.integer, draw: int) -> np.random.Generator:
    """The random generator of one draw for one example."""
    return np.random.default_rng([seed, zlib.crc32(layer.encode()), int(example), draw])


def draw_orders(game: Game, draw: int, seed: int, shared: bool) -> np.ndarray:
    """Draw a random removal order for each example, int [N, n], the same in every row if ``shared``."""
    if shared:
        return np.tile(generator(seed, game.layer, SHARED, draw).permutation(game.units), (len(game), 1))
    return np.stack([generator(seed, game.layer, each, draw).permutation(game.units) for each in game.examples])


def draw_coalitions(game: Game, draw: int, seed: int, low: float, high: float) -> np.ndarray:
    """Draw a random coalition for each example, bool [N, n], with an inclusion probability uniform on [low, high)."""
    rows = []
    for each in game.examples:
        random = generator(seed, game.layer, each, draw)
        probability = random.uniform(low, high)
        rows.append(random.random(game.units) < probability)
    return np.stack(rows)


class Draws:
    """The sum of values over draws, and over groups of draws that tell the error of the mean.

    Args:
        draws: how many there will be.
        unfinished: the state of the scoring; draws made before an interruption are taken from it.
        together: draws in a row that depend on each other (2 for antithetic pairs); they stay in one group.

    Attributes:
        seen: how many draws were added.
    """

    def __init__(self, draws: int, unfinished: Unfinished, together: int = 1):
        self._draws, self._unfinished, self._together = draws, unfinished, together
        self._groups = min(-(-draws // together), MOST_GROUPS)
        self.seen: int = unfinished.saved.get("seen", 0)
        self._sums: Tensor | None = None
        if self.seen:
            self._sums = unfinished.saved["sums"].to(unfinished.game.device)

    def add(self, values: Tensor) -> None:
        """Add the next draws, [K, N, n]."""
        if self._sums is None:
            self._sums = values.new_zeros(self._groups, *values.shape[1:], dtype=torch.float64)
        for one in values:
            self._sums[self.seen // self._together % self._groups] += one
            self.seen += 1
        self._unfinished.save(f"draw {self.seen} of {self._draws}", sums=self._sums, seen=self.seen)

    def result(self) -> tuple[Tensor, Tensor]:
        """The mean over all draws, float64 [N, n], and the means of the groups, float32 [G, N, n]."""
        assert self._sums is not None
        counts = np.bincount(np.arange(self.seen) // self._together % self._groups)
        groups = self._sums[: len(counts)] / torch.from_numpy(counts).to(self._sums.device).reshape(-1, 1, 1)
        return self._sums.sum(0) / self.seen, groups.float()
