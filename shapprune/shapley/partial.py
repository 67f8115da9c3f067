"""Shapley values from coalitions near one end: those that lack few units, or that hold few."""

from __future__ import annotations

from math import comb
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from shapprune.core.progress import track
from shapprune.game.protocol import Game
from shapprune.shapley.criterion import Estimate, criterion
from shapprune.shapley.enumeration import partial_weights, require_enumerable, sets_of_sizes
from shapprune.shapley.unfinished import Unfinished

_CHUNK = 4096  # coalitions at a time, fewer in wide layers
_NUMBERS = 2**22  # weights in memory at a time


@criterion("partial", limits={"size": {"minimum": 1}}, shapley=True, walks=True)
def partial(
    game: Game, size: int = 1, end: Literal["full", "empty"] = "full", checkpoint: Path | None = None
) -> Estimate:
    """The part of the Shapley value from coalitions that lack, or hold, few units (Adamczewski et al. 2024).

    phi_i = sum over S without i of |S|! (n-|S|-1)! / n! [v(S with i) - v(S)], where S lacks at most ``size`` units
    (end ``full``), or S with i holds at most ``size`` units (end ``empty``). As in the paper, the weights are those of
    the Shapley value and are not rescaled, so the values do not sum to v(all) - v(none). With ``size=1`` and the full
    end it is leave-one-out divided by n; with ``size=n`` it is exact at either end.

    Args:
        game: a layer with at most 2^20 such coalitions.
        size: the most units that a coalition lacks or holds. More than n count as n.
        end: the end that the coalitions are near to. ``full`` is the whole layer.
        checkpoint: see `shapprune.score`.

    Returns:
        UnitScores with values float64 [N, n]. The cost is C(n, 0) + ... + C(n, size) evaluations.

    Raises:
        ShapPruneError: a size below 1, an unknown end, or more than 2^20 coalitions.

    Source: the partial k-greedy values of Adamczewski et al. 2024.

    Examples:
        >>> import torch, shapprune
        >>> network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
        >>> game = shapprune.LayerGame(network, "0", torch.rand(5, 3), torch.tensor([0, 1, 0, 1, 1]))
        >>> near, exact = shapprune.shapley.partial(game, size=4), shapprune.shapley.exact(game)
        >>> torch.allclose(near.values, exact.values)
        True
    """
    return sum_marginals(game, size, end, Unfinished(checkpoint, game, "partial", size, end))


def sum_marginals(game: Game, size: int, end: str, unfinished: Unfinished) -> Estimate:
    """Sum the weighted marginal contributions of the coalitions of `partial`; with ``size=n`` of all coalitions."""
    n = game.units
    weights = partial_weights(n, size, end)
    sizes = range(max(n - size, 0), n + 1) if end == "full" else range(min(size, n) + 1)
    coalitions = sum(comb(n, each) for each in sizes)
    require_enumerable(game, coalitions if coalitions < 2**n else None)
    # v(S) counts +w(|S|-1) for each unit in S, and -w(|S|) for each that is not.
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
