"""Shapley values from coalitions near one end: those that lack few units, or that hold few."""

from __future__ import annotations

from math import comb
from pathlib import Path

import numpy as np
import torch

from shapprune.core.progress import track
from shapprune.game.protocol import Game
from shapprune.shapley.enumeration import partial_weights, require_enumerable, sets_of_sizes
from shapprune.shapley.scores import Estimate, scorer
from shapprune.shapley.unfinished import Unfinished

_CHUNK = 4096  # coalitions at a time, fewer of wide layers
_NUMBERS = 2**22  # in the weights of that many coalitions


@scorer("partial")
def partial(game: Game, size: int = 1, end: str = "full", checkpoint: Path | None = None) -> Estimate:
    """The part of the Shapley values that comes from coalitions near one end of the layer.

    phi_i = sum over S without i of |S|! (n-|S|-1)! / n! [v(S with i) - v(S)], where S lacks at most ``size`` units
    (from the full end), or S with i holds at most ``size`` (from the empty end). The weights are those of the Shapley
    value, not scaled up to what is left of them, as in the paper: the values do not sum to v(all) - v(none).
    ``size=1`` from the full end is leave-one-out over n, and ranks as it does; ``size=n`` is exact from either end.

    Args:
        game: a layer of which at most 2^20 coalitions are that near to the end.
        size: the most units that a coalition lacks or holds; more than n are n.
        end: ``full``, the whole layer, or ``empty``.
        checkpoint: a file that is written now and then; a scoring that was cut off goes on from it, after its last
            finished batch of coalitions, and comes out the same. It is left there for the caller to delete.

    Returns:
        UnitScores with values float64 [N, n]; it costs C(n, 0) + ... + C(n, size) evaluations.

    Raises:
        ShapPruneError: a size below 1, an unknown end, or more than 2^20 coalitions.

    Source: the partial k-greedy values of Adamczewski et al. 2024.
    """
    return sum_marginals(game, size, end, Unfinished(checkpoint, game, "partial", size, end))


def sum_marginals(game: Game, size: int, end: str, unfinished: Unfinished) -> Estimate:
    """What `partial` returns, for a scoring on its way; with ``size=n`` it is exact."""
    n = game.units
    weights = partial_weights(n, size, end)
    sizes = range(max(n - size, 0), n + 1) if end == "full" else range(min(size, n) + 1)
    coalitions = sum(comb(n, each) for each in sizes)
    require_enumerable(game, coalitions if coalitions < 2**n else None)
    # v(S) enters unit i with +w(|S|-1) if i is in S, with -w(|S|) if it is not.
    inside, outside = torch.from_numpy(np.append(0.0, weights)), torch.from_numpy(np.append(weights, 0.0))
    total = unfinished.saved.get("total", torch.zeros(len(game), n, dtype=torch.float64))
    chunk = max(1, min(_CHUNK, _NUMBERS // n))
    for start in track(range(unfinished.saved.get("seen", 0), coalitions, chunk), f"coalitions of {game.layer}"):
        stop = min(start + chunk, coalitions)
        kept = torch.from_numpy(sets_of_sizes(sizes, n, start, stop))
        held = kept.sum(1, keepdim=True)
        total += game.value(kept).double().cpu().T @ torch.where(kept, inside[held], -outside[held])
        unfinished.save(f"coalition {stop} of {coalitions}", total=total, seen=stop)
    return Estimate(total.to(game.device), unfinished=unfinished)
