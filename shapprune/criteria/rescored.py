"""Any criterion applied in stages: score, remove the lowest, score again with those gone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shapprune.core.errors import ShapPruneError
from shapprune.core.progress import track
from shapprune.game.protocol import PayoffGame
from shapprune.shapley.scores import Estimate, scorer
from shapprune.shapley.unfinished import Unfinished


@scorer("rescored")
def rescored(
    game: PayoffGame,
    of: str = "coalition-gradient",
    stages: int = 16,
    aggregate: str = "mean+2std",
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
    checkpoint: Path | None = None,
) -> Estimate:
    """Remove the lowest units of a layer in stages, each scored with those of the stages before gone.

    A Shapley value knows nothing of which other units will be left: two units that do the same each have half the
    credit, and both look dispensable. Scored again after the first has gone, the second shows its worth.

    Args:
        game: the layer.
        of: the criterion that scores.
        stages: how many times; each removes about n / stages units. As many stages as units is greedy.
        aggregate: how its scores of examples become one.
        options: the criterion's own options.
        seed: of what the criterion draws; each stage has draws of its own.
        checkpoint: a file that is written now and then; a scoring that was cut off goes on from it, after its last
            finished stage, and comes out the same. It is left there for the caller to delete.

    Returns:
        UnitScores with values [1, n]: the place of each unit in the removal order, 0 left first.

    Raises:
        ShapPruneError: fewer than one stage, an unknown criterion, option or aggregate, or the criterion itself.
    """
    from shapprune.criteria.scoring import score

    if stages < 1:
        raise ShapPruneError(f"stages = {stages}, at least 1 is needed")
    if of == "rescored":
        raise ShapPruneError("'rescored' cannot be applied to itself")
    ends = np.linspace(0, game.units, min(stages, game.units) + 1).astype(int)
    unfinished = Unfinished(checkpoint, game, "rescored", of, stages, aggregate, options, seed)
    # The units in the order they leave; what follows those that are gone is as the last stage has sorted it.
    order = unfinished.saved.get("order", torch.arange(game.units)).to(game.device)
    for stage in track(range(unfinished.saved.get("stages", 0), len(ends) - 1), f"stages of {game.layer}"):
        gone, left = order[: ends[stage]], order[ends[stage] :]
        scored = score(game.without(gone), of, seed=seed * stages + stage, **(options or {})).aggregate(aggregate)
        order = torch.cat([gone, left[torch.argsort(scored[left], stable=True)]])
        unfinished.save(f"stage {stage + 1} of {len(ends) - 1}", order=order, stages=stage + 1)
    return Estimate(torch.argsort(order).double()[None], unfinished=unfinished)
