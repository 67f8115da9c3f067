"""Exact Shapley values by enumeration of all coalitions."""

from __future__ import annotations

from pathlib import Path

from shapprune.game.protocol import Game
from shapprune.shapley.partial import sum_marginals
from shapprune.shapley.scores import Estimate, scorer
from shapprune.shapley.unfinished import Unfinished


@scorer("exact")
def exact(game: Game, checkpoint: Path | None = None) -> Estimate:
    """Exact Shapley values of each example, from all 2^n coalitions.

    Args:
        game: a layer of at most 20 units.
        checkpoint: a file that is written now and then; a scoring that was cut off goes on from it, after its last
            finished batch of coalitions, and comes out the same. It is left there for the caller to delete.

    Returns:
        UnitScores with values float64 [N, n]; for each example they sum to v(all) - v(none).

    Raises:
        ShapPruneError: more than 20 units.

    Source: Eq. 5 of Ancona et al. 2020 with v = minus the loss, so that high = keep.
    """
    return sum_marginals(game, game.units, "full", Unfinished(checkpoint, game, "exact"))
