"""Shapley values from gradients in the units' gates: all marginals of a coalition from one backward pass."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from shapprune.errors import ShapPruneError
from shapprune.game import LayerGame
from shapprune.progress import track
from shapprune.shapley.draws import draw_coalitions
from shapprune.shapley.scores import scorer

_TOGETHER = 16  # points that share what is computed once for each example


@scorer("coalition-gradient")
def coalition_gradient(game: LayerGame, points: int = 16, seed: int = 0) -> tuple[Tensor, Tensor]:
    """The payoff's gradient in the units' gates, averaged over random 0/1 coalitions of each example's own.

    The Shapley value is the mean marginal contribution to a coalition that holds every other unit with probability q,
    over q uniform on (0, 1) (Owen 1972). Here q is stratified over the points, and the gradient in a gate stands for
    the marginal contribution, so one backward pass serves all n units. The gradient is a first-order stand-in: unlike
    `permutation` the values have a bias that more points do not remove, and they need not sum to v(all) - v(none).

    Args:
        game: the layer; its payoff must have a gradient.
        points: coalitions for each example, one from each of as many equal ranges of q.
        seed: of the coalitions; those of an example depend on seed, layer, example and point only.

    Returns:
        UnitScores with values float [N, n]; it costs 3 evaluations a point.

    Raises:
        ShapPruneError: fewer than one point, or a payoff without gradient.

    Source: Okhrati and Lipani 2021 integrate over q with finite differences; the gradient form is this project's.
    """
    if points < 1:
        raise ShapPruneError(f"points = {points}, at least 1 is needed")
    total = torch.zeros(len(game), game.units, dtype=torch.float64, device=game.device)
    means: list[Tensor] = []
    for first in track(range(0, points, _TOGETHER), f"coalition gradients of {game.layer}"):
        some = range(first, min(first + _TOGETHER, points))
        coalitions = np.stack(
            [draw_coalitions(game, point, seed, point / points, (point + 1) / points) for point in some]
        )
        gradients = game.gate_gradient(coalitions).double()
        total += gradients.sum(0)
        means += gradients.mean(1)
    return total / points, torch.stack(means)
