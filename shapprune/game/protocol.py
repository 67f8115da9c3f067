"""What a game must offer, so that estimators of Shapley values can be run on it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from shapprune.game.payoffs import Payoff, accuracy, minus_loss


class Game(Protocol):
    """Players (the units of a layer) and what coalitions of them are worth to each example.

    A class that derives from this one needs `value`, `evaluations`, `identity` and the attributes; the rest follows
    from `value`.

    Attributes:
        layer: a name for the players together; random draws depend on it.
        units: how many players there are, n.
        examples: a number for each example that seeds its draws, int [N].
        device: where values are.

    Examples:
        A game without a network, in which each unit is worth a number of its own:

        >>> import torch
        >>> from shapprune import shapley
        >>> from shapprune.game.cost import Cost
        >>> from shapprune.game.protocol import Game
        >>> class Additive(Game):
        ...     layer, units, examples, device = "additive", 3, [0], torch.device("cpu")
        ...     def __init__(self):
        ...         self.cost = Cost()
        ...     @property
        ...     def evaluations(self):
        ...         return self.cost.evaluations
        ...     def value(self, coalitions):
        ...         kept = torch.as_tensor(coalitions).double()
        ...         self.cost.add(len(kept))
        ...         worth = kept @ torch.tensor([3.0, -1.0, 0.5]).double()
        ...         return worth if worth.dim() == 2 else worth[:, None]
        ...     def identity(self):
        ...         return [self.layer]
        >>> shapley.exact(Additive()).aggregate("mean").round(decimals=6).tolist()
        [3.0, -1.0, 0.5]
    """

    layer: str
    units: int
    examples: np.ndarray
    device: torch.device

    def __len__(self) -> int:
        """How many examples there are, N."""
        return len(self.examples)

    @property
    def evaluations(self) -> float:
        """Coalitions valued so far, each on all examples; a gradient counts as 3."""
        ...

    def value(self, coalitions: Tensor | np.ndarray) -> Tensor:
        """The payoff of coalitions for each example.

        Args:
            coalitions: True = the unit is kept; bool [C, n], or [C, N, n] for coalitions of each example's own.

        Returns:
            v(S) of each example, float [C, N].
        """
        ...

    def identity(self) -> Iterable[object]:
        """What decides the values of coalitions: numbers, texts, arrays and objects whose ``repr`` tells them apart.

        A scoring goes on from a checkpoint only where this is the same.
        """
        ...

    @cached_property
    def full(self) -> Tensor:
        """The value of the whole layer for each example, float [N]."""
        return self.value(torch.ones(1, self.units, dtype=torch.bool))[0]

    @cached_property
    def empty(self) -> Tensor:
        """The value when all units are gone for each example, float [N]."""
        return self.value(torch.zeros(1, self.units, dtype=torch.bool))[0]

    def walk(self, orders: Tensor, depth: int | None = None) -> Tensor:
        """Values along removal orders, from the whole layer on.

        Args:
            orders: removal orders of each example, int [K, N, n]; the first unit leaves first.
            depth: how many units leave; by default all.

        Returns:
            float [K, depth + 1, N]; row j is the value when the first j units of the order are gone.
        """
        depth = self.units if depth is None else min(depth, self.units)
        place = torch.argsort(orders, dim=2)[:, None]  # of each unit in its order
        kept = place >= torch.arange(depth + 1, device=orders.device).reshape(1, -1, 1, 1)
        return self.value(kept.flatten(0, 1)).reshape(len(orders), depth + 1, -1)

    def at_once(self, draws: int) -> int:
        """How many draws to value together: ``draws``, or one where each takes long and a checkpoint should keep it."""
        return draws


class PayoffGame(Game, Protocol):
    """A game whose values are payoffs of a network's outputs, so that other payoffs and gradients can be had too.

    Attributes:
        payoff: the function of (outputs, labels) that values are by.
    """

    payoff: Payoff

    def values_by(self, coalitions: Tensor | np.ndarray, payoffs: Sequence[Payoff]) -> Tensor:
        """What coalitions are worth to each example by several payoffs, from one pass of the network.

        Args:
            coalitions: as in `value`.
            payoffs: functions of (outputs, labels), k of them.

        Returns:
            float [k, C, N].
        """
        ...

    def gate_gradient(self, gates: Tensor | np.ndarray) -> Tensor:
        """The gradient of each example's payoff in the gates (1 = kept, 0 = removed) that multiply the units.

        Args:
            gates: where to take it, [C, n] or [C, N, n]; coalitions (bool), or numbers from 0 to 1.

        Returns:
            float [C, N, n].

        Raises:
            ShapPruneError: the payoff has no gradient, or is not finite.
        """
        ...

    def without(self, units: Tensor | np.ndarray | Sequence[int]) -> PayoffGame:
        """The game that is left when some units are gone.

        It has the same n units; those that are gone are null players: zero in every coalition, and free. What it costs
        is counted by this game too.

        Args:
            units: indices of those that are gone, int [k].

        Raises:
            ShapPruneError: something else was given, as a mask.
        """
        ...

    def value(self, coalitions: Tensor | np.ndarray) -> Tensor:
        """The payoff of coalitions for each example, float [C, N]; see `Game.value`."""
        return self.values_by(coalitions, [self.payoff])[0]

    def loss_and_accuracy(self, coalitions: Tensor | np.ndarray) -> tuple[Tensor, Tensor]:
        """Cross-entropy and accuracy of each example under coalitions, whatever the payoff; float [C, N] each."""
        minus, right = self.values_by(coalitions, [minus_loss, accuracy])
        return -minus, right
