"""What the games on a network have in common, whatever their players are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from shapprune.game.cost import Cost
from shapprune.game.payoffs import Payoff, require_gradient
from shapprune.game.played_network import PlayedNetwork
from shapprune.game.protocol import PayoffGame
from shapprune.graph.units import read_units


class NetworkGame(PayoffGame):
    """A game on a trained network and a set of scoring images.

    A class that derives from this one calls `_start` and offers the rest of `PayoffGame`.

    Attributes:
        model: the network.
        images: the scoring images, [N, ...].
        labels: their labels, or None.
    """

    _network: Any  # a `PlayedNetwork`

    def _start(self, network: PlayedNetwork, payoff: Payoff, examples: np.ndarray, gone: Tensor, cost: Cost) -> None:
        """Set all attributes of a new game."""
        self._network, self._gone, self._cost = network, gone, cost
        self.payoff, self.examples = payoff, examples
        self.model: nn.Module = network.model
        self.device, self.images, self.labels = network.device, network.images, network.labels
        self.layer, self.units = network.layer, network.units

    def _start_whole(self, network: PlayedNetwork, payoff: Payoff, examples: np.ndarray | None) -> None:
        """Set all attributes of a game from which nothing is gone."""
        examples = np.arange(len(network.images)) if examples is None else np.asarray(examples)
        self._start(network, payoff, examples, torch.empty(0, dtype=torch.long, device=network.device), Cost())

    def _derive(self, gone: Tensor, cost: Cost) -> Self:
        """A game on the same network."""
        game = object.__new__(type(self))
        game._start(self._network, self.payoff, self.examples, gone, cost)
        return game

    def without(self, units: Tensor | np.ndarray | Sequence[int]) -> Self:
        """The game that is left when some units are gone; see `PayoffGame.without`."""
        gone = torch.tensor(read_units(units, self.units, self.layer), dtype=torch.long, device=self.device)
        return self._derive(torch.cat([self._gone, gone]).unique(), self._cost)

    def fresh(self) -> Self:
        """The same game with nothing counted and nothing valued yet; what is prepared of the network is kept."""
        return self._derive(self._gone, Cost())

    def __len__(self) -> int:
        """How many scoring images, N."""
        return len(self.images)

    @property
    def counted(self) -> Tensor | None:
        """Which positions of sequences are no padding, bool [N, T]; None for all."""
        found: Tensor | None = self._network.counted
        return found

    @property
    def evaluations(self) -> float:
        """Coalitions valued so far, on all scoring images, in this game and those without some of its units."""
        return self._cost.evaluations

    def count(self, evaluations: float) -> None:
        """Add the cost of passes that a criterion has run itself."""
        self._cost.add(evaluations)

    def identity(self) -> Iterable[object]:
        """What decides the values: players, payoff, network, images and labels; see `Game.identity`."""
        payoff = getattr(self.payoff, "__module__", ""), getattr(self.payoff, "__qualname__", self.payoff)
        yield (*self._network.players, payoff, self._network.precision, self.device.type, self._gone.tolist())
        yield from (self.model, self.examples, self.images, self.labels)
        yield from chain.from_iterable(self.model.state_dict().items())

    def require_gradient(self) -> None:
        """Refuse a payoff that has no gradient.

        Raises:
            ShapPruneError: it is the accuracy, or counts as that does.
        """
        require_gradient(self.payoff, self._network.outputs, self._network.answers)
