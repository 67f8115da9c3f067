"""Exact Shapley values by enumeration of all coalitions."""

from __future__ import annotations

from pathlib import Path

import torch

from shapprune.game import LayerGame
from shapprune.progress import track
from shapprune.shapley.enumeration import kept_units, marginal_weights, require_enumerable
from shapprune.shapley.scores import Estimate, scorer
from shapprune.shapley.unfinished import Unfinished

_CHUNK = 4096  # coalitions at a time: their values, [4096, N], are all that is held


@scorer("exact")
def exact(game: LayerGame, checkpoint: Path | None = None) -> Estimate:
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
    n = game.units
    require_enumerable(game)
    weights = torch.from_numpy(marginal_weights(n))
    unfinished = Unfinished(checkpoint, game, "exact")
    total = unfinished.saved.get("total", torch.zeros(len(game), n, dtype=torch.float64))
    for start in track(range(unfinished.saved.get("seen", 0), 2**n, _CHUNK), f"coalitions of {game.layer}"):
        stop = min(start + _CHUNK, 2**n)
        kept = torch.from_numpy(kept_units(range(start, stop), n))
        size = kept.sum(1)
        # v(S) enters unit i with +w(|S|-1) if i is in S, with -w(|S|) if it is not.
        inside = weights[(size - 1).clamp(min=0)][:, None]
        outside = weights[size.clamp(max=n - 1)][:, None]
        total += game.value(kept).double().cpu().T @ torch.where(kept, inside, -outside)
        unfinished.save(f"coalition {stop} of {2**n}", total=total, seen=stop)
    return Estimate(total.to(game.images.device), unfinished=unfinished)
