"""Games whose coalitions are all known: estimators play them by looking values up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from shapprune.core.errors import ShapPruneError
from shapprune.game.cost import Cost
from shapprune.game.layer_game import LayerGame
from shapprune.game.payoffs import Payoff, accuracy, minus_loss
from shapprune.oracle.tables import example_tables


class TabulatedGame(LayerGame):
    """The game of a small layer with the values of all its coalitions at hand.

    Values, walks, losses and accuracies are those of the layer's own game, and count as many evaluations, but no
    network is run for them. So an estimator can be repeated many times to see its error. Gradients and activations
    are those of the network.

    Args:
        game: a layer of at most 20 units; its table takes 12 N 2^n bytes.

    Raises:
        ShapPruneError: as `example_tables`.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from shapprune import LayerGame, shapley
        >>> from shapprune.oracle.tabulated import TabulatedGame
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> game = TabulatedGame(LayerGame(model, "0", torch.rand(5, 4), torch.tensor([0, 1, 1, 0, 1])))
        >>> shapley.exact(game).evaluations
        8.0
    """

    def __init__(self, game: LayerGame):
        self._tables = example_tables(game).to(game.device)
        self._start(game._network, game.payoff, game.examples, game._gone, Cost())

    def _derive(self, gone: Tensor, cost: Cost) -> TabulatedGame:
        game = super()._derive(gone, cost)
        game._tables = self._tables
        return game

    def values_by(self, coalitions: Tensor | np.ndarray, payoffs: Sequence[Payoff]) -> Tensor:
        """As in `PayoffGame`, for the payoff of the game, minus the loss and the accuracy only.

        Raises:
            ShapPruneError: another payoff.
        """
        masks = self._network.masks(coalitions)
        self.count(len(masks))
        places = (masks.long() << torch.arange(self.units, device=self.device)).sum(2)
        return torch.stack([self._look_up(places, payoff) for payoff in payoffs])

    def walk(self, orders: Tensor, depth: int | None = None) -> Tensor:
        """Values along removal orders, float [K, depth + 1, N]; see `Game.walk`."""
        depth = self.units if depth is None else min(depth, self.units)
        gone = (1 << orders.to(self.device)[..., :depth]).cumsum(2)
        places = 2**self.units - 1 - torch.nn.functional.pad(gone, (1, 0))
        self.count(len(orders) * min(depth, self.units - len(self._gone) - 1))
        places = places.transpose(1, 2)  # [K, depth + 1, N]
        return self._look_up(places.flatten(0, 1), self.payoff).reshape(places.shape)

    def _look_up(self, places: Tensor, payoff: Payoff) -> Tensor:
        """Values of coalitions of each example by their places in the tables, [C, N or 1] -> [C, N]."""
        known = [self.payoff, minus_loss, accuracy]
        if payoff not in known:
            raise ShapPruneError(f"the table of layer {self.layer!r} has no values of payoff {payoff!r}")
        which = known.index(payoff)
        gone = int((1 << self._gone).sum()) if len(self._gone) else 0
        values = self._tables[which].gather(0, (places & ~gone).expand(-1, len(self)))
        return -values if which == 1 else values
