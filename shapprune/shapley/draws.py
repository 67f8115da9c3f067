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


def pair_draws(draws: Tensor) -> Tensor:
    """Draws of which every second depends on the one before, [K, n], as independent draws: the means of the pairs."""
    pairs = draws[: len(draws) // 2 * 2].reshape(-1, 2, draws.shape[1]).mean(1)
    return torch.cat([pairs, draws[len(pairs) * 2 :]])
