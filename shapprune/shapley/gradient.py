"""Shapley values from gradients in the units' gates: one backward pass for all units of a coalition."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from shapprune.core.errors import ShapPruneError
from shapprune.core.progress import track
from shapprune.game.protocol import PayoffGame
from shapprune.shapley.criterion import Estimate, criterion
from shapprune.shapley.draws import Draws, draw_coalitions
from shapprune.shapley.unfinished import Unfinished

_TOGETHER = 16  # points in one call, which share what is computed once for each example


@criterion(
    "coalition-gradient",
    limits={
        "points": {"minimum": 1},
        "low": {"minimum": 0, "maximum": 1},
        "high": {"minimum": 0, "maximum": 1},
    },
    shapley=True,
    walks=True,
    gradient=True,
)
def coalition_gradient(
    game: PayoffGame,
    points: int = 16,
    low: float = 0.0,
    high: float = 1.0,
    paired: bool = False,
    seed: int = 0,
    checkpoint: Path | None = None,
) -> Estimate:
    """Shapley value by gradients of the payoff in the units' gates at random coalitions.

    The Shapley value is the mean marginal contribution to a coalition that holds every other unit with probability q,
    over q uniform on (0, 1) (Owen 1972). Here q is stratified over the points, and the gradient in a gate approximates
    the marginal contribution, so one backward pass serves all n units. The approximation is of first order: the values
    have a bias that more points do not remove, and they need not sum to v(all) - v(none).

    Args:
        game: the layer; its payoff must have a gradient.
        points: coalitions for each example. Each is drawn from one of as many equal ranges of q.
        low: least share of units in a coalition. A range other than (0, 1) gives no Shapley value but the mean over
            that range of coalition sizes; (0.5, 1) covers the sizes that pruning up to a half goes through.
        high: greatest share of units in a coalition.
        paired: make every other coalition the complement of the one before. It needs the range (0, 1).
        seed: of the coalitions; see `shapprune.score`.
        checkpoint: see `shapprune.score`.

    Returns:
        UnitScores with values float [N, n]. The cost is 3 evaluations a point. A pair counts as one draw.

    Raises:
        ShapPruneError: an option out of bounds, an empty range, or a payoff without gradient.

    Source: Okhrati and Lipani 2021 integrate over q with finite differences; the gradient form is this project's.

    Examples:
        >>> import torch, shapprune
        >>> network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
        >>> game = shapprune.LayerGame(network, "0", torch.rand(5, 3), torch.tensor([0, 1, 0, 1, 1]))
        >>> scores = shapprune.shapley.coalition_gradient(game, points=8, paired=True)
        >>> scores.values.shape, scores.evaluations
        (torch.Size([5, 4]), 24.0)
    """
    if not low < high:
        raise ShapPruneError(f"inclusion probabilities from {low} to {high}: low < high is needed")
    if paired and (low, high) != (0, 1):
        raise ShapPruneError(f"paired coalitions need all inclusion probabilities, not those from {low} to {high}")
    strata = (points + 1) // 2 if paired else points
    width = (high - low) / strata

    def coalitions(point: int) -> np.ndarray:
        stratum = point // 2 if paired else point
        drawn = draw_coalitions(game, stratum, seed, low + stratum * width, low + (stratum + 1) * width)
        return ~drawn if paired and point % 2 else drawn

    unfinished = Unfinished(checkpoint, game, "coalition-gradient", points, low, high, paired, seed)
    return _mean_gradient(game, points, coalitions, unfinished, together=2 if paired else 1)


@criterion("path-gradient", limits={"points": {"minimum": 1}}, shapley=True, walks=True, gradient=True)
def path_gradient(game: PayoffGame, points: int = 8, checkpoint: Path | None = None) -> Estimate:
    """Gradients of the payoff in the units' gates as they open together (Aumann-Shapley value).

    It is the Aumann-Shapley value of the relaxed game. It equals integrated gradients of the rest of the network from
    the zero activation, summed over positions. For many small units it is close to the Shapley value. Nothing is drawn.

    Args:
        game: the layer; its payoff must have a gradient.
        points: points on the path. They follow the mid-point rule.
        checkpoint: see `shapprune.score`.

    Returns:
        UnitScores with values float [N, n]. The cost is 3 evaluations a point.

    Raises:
        ShapPruneError: fewer than one point, or a payoff without gradient.

    Source: Aumann and Shapley 1974, "Values of non-atomic games"; integrated gradients: Sundararajan et al. 2017.

    Examples:
        >>> import torch, shapprune
        >>> network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
        >>> game = shapprune.LayerGame(network, "0", torch.rand(5, 3), torch.tensor([0, 1, 0, 1, 1]))
        >>> shapprune.shapley.path_gradient(game, points=4).evaluations
        12.0
    """
    gates = (np.arange(points, dtype=np.float32)[:, None] + 0.5) / points
    unfinished = Unfinished(checkpoint, game, "path-gradient", points)
    found = _mean_gradient(game, points, lambda point: np.tile(gates[point], (1, game.units)), unfinished)
    return found._replace(draws=None)


def _mean_gradient(
    game: PayoffGame, points: int, gates: Callable[[int], np.ndarray], unfinished: Unfinished, together: int = 1
) -> Estimate:
    """The gradient in the gates, averaged over points, [N, n], and over groups of points, [G, N, n].

    Args:
        game: the layer.
        points: how many.
        gates: from a point to the gates of each example, [N, n].
        unfinished: the state of the scoring.
        together: points in a row that depend on each other.
    """
    draws = Draws(points, unfinished, together)
    for first in track(range(draws.seen, points, _TOGETHER), f"gradients of {game.layer}"):
        some = np.stack([gates(point) for point in range(first, min(first + _TOGETHER, points))])
        draws.add(game.gate_gradient(some))
    return Estimate(*draws.result(), unfinished=unfinished)
