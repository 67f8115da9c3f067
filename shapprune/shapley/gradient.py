"""Shapley values from gradients in the units' gates: all marginals of a coalition from one backward pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from shapprune.core.errors import ShapPruneError
from shapprune.core.progress import track
from shapprune.game.protocol import PayoffGame
from shapprune.shapley.draws import Draws, draw_coalitions
from shapprune.shapley.scores import Estimate, scorer
from shapprune.shapley.unfinished import Unfinished

_TOGETHER = 16  # points that share what is computed once for each example


@scorer("coalition-gradient")
def coalition_gradient(
    game: PayoffGame,
    points: int = 16,
    low: float = 0.0,
    high: float = 1.0,
    paired: bool = False,
    seed: int = 0,
    checkpoint: Path | None = None,
) -> Estimate:
    """The payoff's gradient in the units' gates, averaged over random 0/1 coalitions of each example's own.

    The Shapley value is the mean marginal contribution to a coalition that holds every other unit with probability q,
    over q uniform on (0, 1) (Owen 1972). Here q is stratified over the points, and the gradient in a gate stands for
    the marginal contribution, so one backward pass serves all n units. The gradient is a first-order stand-in: unlike
    `permutation` the values have a bias that more points do not remove, and they need not sum to v(all) - v(none).

    Args:
        game: the layer; its payoff must have a gradient.
        points: coalitions for each example, one from each of as many equal ranges of q.
        low: least q. A range other than (0, 1) gives no Shapley value but the mean over that range of coalition sizes:
            (0.5, 1) looks at the sizes that pruning up to a half goes through.
        high: greatest q.
        paired: every other point takes the complement of the coalition before it; not with another range than (0, 1).
        seed: of the coalitions; those of an example depend on seed, layer, example and point only.
        checkpoint: a file that is written now and then; a scoring that was cut off goes on from it, after its last
            finished batch of points, and comes out the same. It is left there for the caller to delete.

    Returns:
        UnitScores with values float [N, n]; it costs 3 evaluations a point. A pair counts as one draw.

    Raises:
        ShapPruneError: fewer than one point, a range that is none, or a payoff without gradient.

    Source: Okhrati and Lipani 2021 integrate over q with finite differences; the gradient form is this project's.
    """
    _check_points(points)
    if not 0 <= low < high <= 1:
        raise ShapPruneError(f"inclusion probabilities from {low} to {high}: 0 <= low < high <= 1 is needed")
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


@scorer("path-gradient")
def path_gradient(game: PayoffGame, points: int = 8, checkpoint: Path | None = None) -> Estimate:
    """The payoff's gradient in the units' gates, averaged over the path on which all gates open together.

    It is the Aumann-Shapley value of the relaxed game, and integrated gradients of the rest of the network from the
    zero activation, summed over positions. For many small units it is close to the Shapley value; nothing is drawn.

    Args:
        game: the layer; its payoff must have a gradient.
        points: points on the path (mid-point rule).
        checkpoint: a file that is written now and then; a scoring that was cut off goes on from it, after its last
            finished batch of points, and comes out the same. It is left there for the caller to delete.

    Returns:
        UnitScores with values float [N, n]; it costs 3 evaluations a point.

    Raises:
        ShapPruneError: fewer than one point, or a payoff without gradient.

    Source: Aumann and Shapley 1974; Sundararajan et al. 2017.
    """
    _check_points(points)
    gates = (np.arange(points, dtype=np.float32)[:, None] + 0.5) / points
    unfinished = Unfinished(checkpoint, game, "path-gradient", points)
    found = _mean_gradient(game, points, lambda point: np.tile(gates[point], (1, game.units)), unfinished)
    return found._replace(draws=None)


def _check_points(points: int) -> None:
    if points < 1:
        raise ShapPruneError(f"points = {points}, at least 1 is needed")


def _mean_gradient(
    game: PayoffGame, points: int, gates: Callable[[int], np.ndarray], unfinished: Unfinished, together: int = 1
) -> Estimate:
    """Mean over points of the gradient in the gates, [N, n], and its groups of points, [G, N, n]."""
    kept = Draws(points, unfinished, together)
    for first in track(range(kept.seen, points, _TOGETHER), f"gradients of {game.layer}"):
        some = np.stack([gates(point) for point in range(first, min(first + _TOGETHER, points))])
        kept.add(game.gate_gradient(some))
    return Estimate(*kept.result(), unfinished=unfinished)
