"""Exact Shapley values by enumeration of all coalitions."""

from __future__ import annotations

from pathlib import Path

from shapprune.game.protocol import Game
from shapprune.shapley.criterion import Estimate, criterion
from shapprune.shapley.partial import sum_marginals
from shapprune.shapley.unfinished import Unfinished


@criterion("exact", shapley=True, walks=True, max_units=20)
def exact(game: Game, checkpoint: Path | None = None) -> Estimate:
    """Shapley value by enumeration of all coalitions.

    Args:
        game: a layer of at most 20 units.
        checkpoint: see `shapprune.score`.

    Returns:
        UnitScores with values float64 [N, n]. For each example they sum to v(all) - v(none). The cost is 2^n
        evaluations.

    Raises:
        ShapPruneError: more than 20 units.

    Source: Eq. 5 of Ancona et al. 2020. The payoff v is minus the loss, so that high = keep.

    Examples:
        >>> import torch, shapprune
        >>> network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
        >>> game = shapprune.LayerGame(network, "0", torch.rand(5, 3), torch.tensor([0, 1, 0, 1, 1]))
        >>> scores = shapprune.shapley.exact(game)
        >>> torch.allclose(scores.values.sum(1), (game.full - game.empty).double(), atol=1e-5)
        True
    """
    return sum_marginals(game, game.units, "full", Unfinished(checkpoint, game, "exact"))
