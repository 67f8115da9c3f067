"""The game over a whole network: its residual branches or blocks are the players, and a coalition skips the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from shapprune.game.branch_network import BranchNetwork
from shapprune.game.network_game import NetworkGame
from shapprune.game.payoffs import (
    Payoff,
    check_own,
    check_payoff,
    find_payoff,
    require_finite,
)
from shapprune.networks.modes import outside_inference


class BranchGame(NetworkGame):
    """The game of a trained network's residual branches, or blocks of them, on a set of scoring images.

    A branch that a coalition does not keep is skipped: it is not computed, and its shortcut goes on alone. Coalitions
    that agree on the first branches share what comes before the next, so values near the full coalition cost less than
    a pass each. The model is used in eval mode and handed back as it came.

    Without all its branches a network puts out next to nothing of use, and a loss has no bound there. Payoffs that do
    not run away, ``kl`` or ``agreement``, need no labels either.

    Args:
        model: a network of one input that can be traced; it stays where it is (CPU or CUDA).
        images: scoring images, [N, ...].
        labels: their labels, as in `shapprune.LayerGame`.
        kind: of the players. ``branches``: residual branches one by one. ``blocks``: the modules that hand on what they
            are given, unchanged, where all of their branches are skipped, as the layers of a transformer do.
        payoff: as in `shapprune.LayerGame`.
        examples: as there.
        memory_mb: as there.
        precision: as there, of the whole network.

    Attributes:
        units: how many players, n.
        examples: the numbers given for the images, int [N].
        payoff: the function of (outputs, labels) that values are by.

    Raises:
        ShapPruneError: the network has no branches or blocks, or cannot be cut there, or images, labels, outputs and
            payoff do not fit.

    Examples:
        >>> import torch
        >>> import shapprune
        >>> from shapprune.networks.builders import build
        >>> _ = torch.manual_seed(0)
        >>> network = build("resnet20", (3, 32, 32), 10)
        >>> game = shapprune.BranchGame(network, torch.rand(4, 3, 32, 32), payoff="kl")
        >>> game.names[:4]
        ['layer1.0', 'layer1.1', 'layer1.2', 'layer2.0']
        >>> kept = torch.ones(1, game.units, dtype=torch.bool)
        >>> kept[0, 1] = False  # without layer1.1
        >>> game.value(kept).shape
        torch.Size([1, 4])
    """

    @outside_inference
    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor | None = None,
        *,
        kind: str = "branches",
        payoff: str | Payoff = "loss",
        examples: np.ndarray | None = None,
        memory_mb: int = 512,
        precision: str = "tf32",
    ):
        found = find_payoff(payoff)
        network = BranchNetwork(model, kind, images, labels, memory_mb, precision)
        check_payoff(found, network.outputs, network.answers, network.images)
        self._start_whole(network, found, examples)

    @property
    def names(self) -> list[str]:
        """The names of the players, in the order they begin."""
        return [part.name for part in self._network.parts]

    def values_by(self, coalitions: Tensor | np.ndarray, payoffs: Sequence[Payoff]) -> Tensor:
        """Values of coalitions by several payoffs, float [k, C, N]; see `PayoffGame.values_by`."""
        network = self._network
        check_own([each for each in payoffs if each is not self.payoff], network.outputs, network.answers)
        masks = network.masks(coalitions).index_fill(2, self._gone, False)
        self.count(len(masks))
        return network.values_by(masks, payoffs)

    def walk(self, orders: Tensor, depth: int | None = None) -> Tensor:
        """Values along removal orders, float [K, depth + 1, N]; see `Game.walk`. Both ends are valued once."""
        orders = orders.to(self.device)
        depth = self.units if depth is None else min(depth, self.units)
        place = orders.argsort(2)[:, None]  # of each player in its order
        steps = torch.arange(1, min(depth, self.units - 1) + 1, device=self.device)
        kept = (place >= steps.reshape(1, -1, 1, 1)).flatten(0, 1).index_fill(2, self._gone, False)
        inner = self._network.values_by(kept, [self.payoff])[0].reshape(len(orders), len(steps), -1)
        self.count(len(orders) * min(depth, self.units - len(self._gone) - 1))
        ends = [each.expand(len(orders), 1, -1) for each in (self.full, self.empty)]
        return torch.cat([ends[0], inner, *ends[1 : depth + 2 - self.units]], 1)

    def gate_gradient(self, gates: Tensor | np.ndarray) -> Tensor:
        """Gradients of payoffs in gates that multiply the branches, float [C, N, n]; see `PayoffGame.gate_gradient`.

        All branches are computed; the gate of a block multiplies each of its branches.
        """
        self.require_gradient()
        there = torch.ones(self.units, device=self.device).index_fill(0, self._gone, 0)
        worth, result = self._network.gate_gradient(self._network.masks(gates, between=True) * there, self.payoff)
        # A loss that overflowed may still have a finite gradient.
        require_finite(worth.T, f"payoff of coalitions of {self.layer}")
        self.count(3 * len(worth))
        return result * there

    def feature_axis(self, player: int) -> int:
        """The axis on which the features lie in the values before and after a player, given by its number."""
        return self._network.feature_axis(player)

    def through(self, function: Callable[[int, Tensor, Tensor, Tensor], Tensor]) -> Tensor:
        """What a function says of what goes into each player and comes out of it, float64 [N, n].

        It costs one evaluation.

        Args:
            function: of a player, by its number, the values before it and after it, [e, ...], with its shortcut, and
                the places of these images among all, int [e]; it returns a number for each, [e].
        """
        self.count(1)
        return self._network.through(function, self._gone.tolist())
