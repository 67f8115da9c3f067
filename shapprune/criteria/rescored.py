"""Any criterion applied in stages: score, remove the lowest units, score the others again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shapprune.core.errors import ShapPruneError
from shapprune.core.progress import track
from shapprune.game.protocol import PayoffGame
from shapprune.shapley.criterion import Estimate, criterion
from shapprune.shapley.unfinished import Unfinished


@criterion("rescored", limits={"stages": {"minimum": 1}}, walks=True)
def rescored(
    game: PayoffGame,
    of: str = "coalition-gradient",
    stages: int = 16,
    aggregate: str = "mean+2std",
    options: Mapping[str, Any] = {},
    seed: int = 0,
    checkpoint: Path | None = None,
) -> Estimate:
    """Place in the removal order when the layer is scored again in stages, with the lowest units gone.

    A Shapley value does not know which other units will be left. Of two units that do the same each gets half the
    credit, and both look dispensable. Scored again after the first has left, the second shows its worth.

    Args:
        game: the layer.
        of: the criterion that scores.
        stages: how many times it scores. Each stage removes about n / stages units; n stages are greedy removal.
        aggregate: how its scores of examples become one.
        options: its own options.
        seed: of the draws of the criterion; each stage has draws of its own. See `shapprune.score`.
        checkpoint: see `shapprune.score`.

    Returns:
        UnitScores with values [1, n]: the place of each unit in the removal order, 0 left first.

    Raises:
        ShapPruneError: fewer than one stage, an unknown criterion, option or aggregate, or ``rescored`` itself.
    """
    from shapprune.criteria.scoring import score

    if of == "rescored":
        raise ShapPruneError("'rescored' cannot be applied to itself")
    ends = np.linspace(0, game.units, min(stages, game.units) + 1).astype(int)
    unfinished = Unfinished(checkpoint, game, "rescored", of, stages, aggregate, dict(options), seed)
    # The units that have left, in order, and behind them the others as the last stage has sorted them.
    order = unfinished.saved.get("order", torch.arange(game.units)).to(game.device)
    for stage in track(range(unfinished.saved.get("stages", 0), len(ends) - 1), f"stages of {game.layer}"):
        gone, left = order[: ends[stage]], order[ends[stage] :]
        scores = score(game.without(gone), of, seed=seed * stages + stage, **options).aggregate(aggregate)
        order = torch.cat([gone, left[torch.argsort(scores[left], stable=True)]])
        unfinished.save(f"stage {stage + 1} of {len(ends) - 1}", order=order, stages=stage + 1)
    return Estimate(torch.argsort(order).double()[None], unfinished=unfinished)
