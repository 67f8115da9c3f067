"""What tests of the ways into a network share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

from shapprune import LayerGame
from shapprune.game.engine import Entry

ENOUGH = 4  # coalitions of each example from which on a game looks for an entry behind the next layer


def masked_only(model: nn.Module, layer: str, x: Tensor, y: Tensor) -> LayerGame:
    """A game that coalitions enter by masking alone, as where no linear layer comes next."""
    with mock.patch("shapprune.game.cut_network.next_linear", return_value=None):
        game = LayerGame(model, layer, x, y)
        game.value(torch.ones(ENOUGH, game.units, dtype=torch.bool))
    return game


@contextmanager
def watched() -> Iterator[list[tuple[type[Entry], int]]]:
    """The calls of the part after the cut within the block: by which entry, and how many rows."""
    calls: list[tuple[type[Entry], int]] = []
    run = Entry.run

    def watch(self: Entry, entering: Tensor, examples: Tensor) -> Tensor:
        calls.append((type(self), len(entering)))
        return run(self, entering, examples)

    with mock.patch.object(Entry, "run", watch):
        yield calls


def way_in(game: LayerGame) -> type[Entry]:
    """The entry that many coalitions take."""
    with watched() as calls:
        game.value(torch.ones(ENOUGH, game.units, dtype=torch.bool))
    return calls[-1][0]


def coalitions(count: int, game: LayerGame) -> Tensor:
    """Random coalitions of each example's own."""
    return torch.from_numpy(np.random.default_rng(3).random((count, len(game), game.units)) < 0.6)


def orders(draws: int, game: LayerGame, seed: int = 1) -> Tensor:
    """Random removal orders of each example's own."""
    units = np.tile(np.arange(game.units), (draws, len(game), 1))
    return torch.from_numpy(np.random.default_rng(seed).permuted(units, axis=2))


def close(found: Tensor, expected: Tensor, atol: float = 1e-5) -> None:
    """Compare values of two ways in."""
    # Sums of float32 in another order: errors of 1e-6 of the largest value, and five times that over a deep network.
    scale = float(expected.abs().max())
    torch.testing.assert_close(found, expected, atol=atol * max(1.0, scale), rtol=1e-4)
