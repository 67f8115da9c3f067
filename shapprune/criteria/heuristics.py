"""The criteria that people compare Shapley values with. All return `UnitScores`; high = keep."""

from __future__ import annotations

import torch
from torch import Tensor

from shapprune.core.errors import unknown
from shapprune.game.layer_game import LayerGame
from shapprune.game.protocol import Game
from shapprune.shapley.draws import SHARED, generator
from shapprune.shapley.scores import scorer


@scorer("random")
def random(game: Game, seed: int = 0) -> Tensor:
    """A uniform random number on [0, 1) for each unit, values [1, n]."""
    return torch.from_numpy(generator(seed, game.layer, SHARED, 0).random((1, game.units))).to(game.device)


@scorer("weight-norm")
def weight_norm(game: LayerGame, norm: str = "l1") -> Tensor:
    """Norm of the weights that come into each unit, the bias left out; values [1, n].

    Args:
        game: the layer.
        norm: ``l1`` (sum of absolute values) or ``l2`` (Euclidean).

    Source: Li et al. 2017, "Pruning filters for efficient ConvNets".
    """
    if norm not in ("l1", "l2"):
        raise unknown("norm", norm, ("l1", "l2"))
    weight = game.module.get_parameter("weight").detach()
    return torch.linalg.vector_norm(weight.flatten(1).double(), ord=int(norm[1]), dim=1)[None]


@scorer("apoz")
def apoz(game: LayerGame) -> Tensor:
    """Share of a unit's activations that are positive, over its positions; values [N, n].

    One minus the average percentage of zeros of a ReLU unit.

    Source: Hu et al. 2016, "Network trimming".
    """
    return by_unit((game.activations > 0).double()).mean(2)


@scorer("sensitivity")
def sensitivity(game: LayerGame) -> Tensor:
    """Absolute gradient of the payoff in the unit's activation, summed over its positions; values [N, n].

    Source: Eq. 2 of Ancona et al. 2020. The gradient is of each example's own loss, so the score
    does not depend on batch sizes.
    """
    return by_unit(game.activation_gradient()).abs().sum(2)


@scorer("taylor")
def taylor(game: LayerGame, signed: bool = False) -> Tensor:
    """First-order estimate of what the payoff loses when the unit leaves: gradient times activation; values [N, n].

    Args:
        game: the layer.
        signed: sum over positions with its sign, an estimate of v(all) - v(all but the unit). By default the mean over
            positions in absolute value.

    Source: Eq. 3 of Ancona et al. 2020 (Molchanov et al. 2017), for each example before averaging.
    """
    product = by_unit(game.activation_gradient() * game.activations)
    return product.sum(2) if signed else product.mean(2).abs()


@scorer("leave-one-out")
def leave_one_out(game: Game) -> Tensor:
    """What the payoff loses when the unit alone leaves the whole layer, v(all) - v(all but the unit); values [N, n].

    It costs n evaluations, and one for the whole layer.
    """
    without = ~torch.eye(game.units, dtype=torch.bool)
    return (game.full[None] - game.value(without)).T


def by_unit(values: Tensor) -> Tensor:
    """Values [N, n, ...] as [N, n, positions]."""
    return values.reshape(*values.shape[:2], -1)
