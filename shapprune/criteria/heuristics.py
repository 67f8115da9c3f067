"""Simple criteria that Shapley values are compared with. All return `UnitScores`; high = keep."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from shapprune.game.layer_game import LayerGame
from shapprune.game.protocol import Game, PayoffGame
from shapprune.networks.losses import mean_where
from shapprune.shapley.criterion import criterion
from shapprune.shapley.draws import SHARED, generator


@criterion("random")
def random(game: Game, seed: int = 0) -> Tensor:
    """Uniform random number on [0, 1).

    Values are [1, n].
    """
    return torch.from_numpy(generator(seed, game.layer, SHARED, 0).random((1, game.units))).to(game.device)


@criterion("weight-norm")
def weight_norm(game: LayerGame, norm: Literal["l1", "l2"] = "l1") -> Tensor:
    """Norm of the unit's incoming weights, bias left out (Li et al. 2017).

    Values are [1, n].

    Args:
        game: the layer.
        norm: which norm. ``l1`` is the sum of absolute values, ``l2`` the Euclidean norm.

    Source: Li et al. 2017, "Pruning filters for efficient ConvNets".
    """
    return torch.linalg.vector_norm(game.incoming, ord=int(norm[1]), dim=1)[None]


@criterion("apoz")
def apoz(game: LayerGame) -> Tensor:
    """Share of positive activations (Hu et al. 2016).

    It is one minus the average percentage of zeros (APoZ) of a ReLU unit, over its positions. Values are [N, n].

    Source: Hu et al. 2016, "Network trimming".
    """
    return mean_over_positions(game, (game.activations > 0).double())


@criterion("sensitivity", gradient=True)
def sensitivity(game: LayerGame) -> Tensor:
    """Absolute gradient of the payoff in the unit's activation, summed over positions (Ancona et al. 2020).

    The gradient is that of each example's own loss, so batch sizes play no role. Values are [N, n].

    Source: Eq. 2 of Ancona et al. 2020.
    """
    return by_unit(game.activation_gradient()).abs().sum(2)


@criterion("taylor", gradient=True)
def taylor(game: LayerGame, signed: bool = False) -> Tensor:
    """First-order estimate of the rise of the loss when the unit leaves (Molchanov et al. 2017).

    It is gradient times activation. By default its mean over positions is taken in absolute value, for each example
    before averaging. Values are [N, n].

    Args:
        game: the layer.
        signed: sum over positions and keep the sign. This estimates v(all) - v(all but the unit).

    Source: Molchanov et al. 2017; Eq. 3 of Ancona et al. 2020.
    """
    product = game.activation_gradient() * game.activations
    return by_unit(product).sum(2) if signed else mean_over_positions(game, product).abs()


@criterion("leave-one-out", walks=True)
def leave_one_out(game: Game) -> Tensor:
    """Rise of the loss when the unit alone leaves the layer, v(all) - v(all but the unit).

    Values are [N, n]. The cost is n evaluations, and one for the whole layer.
    """
    without = ~torch.eye(game.units, dtype=torch.bool)
    return (game.full[None] - game.value(without)).T


@criterion("gate-gradient", gradient=True)
def gate_gradient(game: PayoffGame) -> Tensor:
    """First-order estimate of what is lost when the unit leaves, by the gradient in its gate (Michel et al. 2019).

    The gate multiplies the unit, or the branch, and is 1. Michel et al. take the mean of absolute gradients, which is
    the aggregate ``abs``. Values are [N, n]. The cost is 3 evaluations.

    Raises:
        ShapPruneError: the payoff has no gradient.

    Source: Eq. 2 of Michel et al. 2019, "Are sixteen heads really better than one?".
    """
    return game.gate_gradient(torch.ones(1, game.units))[0].double()


def mean_over_positions(game: LayerGame, values: Tensor) -> Tensor:
    """The mean of each unit's values over its positions that are no padding, [N, n, ...] -> [N, n]."""
    there = counted_values(game, values)
    return by_unit(values).mean(2) if there is None else mean_where(by_unit(values), by_unit(there))


def counted_values(game: LayerGame, values: Tensor) -> Tensor | None:
    """Say which values at the site, [N, n, ...], are at positions that are no padding: bool, as large; None for all."""
    counted = game.counted
    if counted is None or values.dim() < 3 or counted.shape[1] != values.shape[2]:
        return None
    return counted.reshape(len(values), 1, -1, *[1] * (values.dim() - 3)).expand_as(values)


def by_unit(values: Tensor) -> Tensor:
    """Values [N, n, ...] as [N, n, positions]."""
    return values.reshape(*values.shape[:2], -1)
