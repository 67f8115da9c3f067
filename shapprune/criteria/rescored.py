"""Any criterion applied in stages: score, remove the lowest, score again with those gone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from shapprune.errors import ShapPruneError
from shapprune.game import LayerGame
from shapprune.progress import track
from shapprune.shapley.scores import scorer


@scorer("rescored")
def rescored(
    game: LayerGame,
    of: str = "coalition-gradient",
    stages: int = 16,
    aggregate: str = "mean+2std",
    options: Mapping[str, object] | None = None,
    seed: int = 0,
) -> Tensor:
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

    Returns:
        UnitScores with values [1, n]: the place of each unit in the removal order, 0 left first.

    Raises:
        ShapPruneError: fewer than one stage, an unknown criterion, option or aggregate, or the criterion itself.
    """
    from shapprune.criteria import score

    if stages < 1:
        raise ShapPruneError(f"stages = {stages}, at least 1 is needed")
    if of == "rescored":
        raise ShapPruneError("'rescored' cannot be applied to itself")
    ends = np.linspace(0, game.units, min(stages, game.units) + 1).astype(int)
    left = torch.arange(game.units, device=game.device)
    order: list[Tensor] = []
    for stage in track(range(len(ends) - 1), f"stages of {game.layer}"):
        scores = score(game, of, seed=seed * stages + stage, **(options or {})).aggregate(aggregate)
        leaving, left = torch.tensor_split(
            left[torch.argsort(scores[left], stable=True)], [ends[stage + 1] - ends[stage]]
        )
        order.append(leaving)
        game = game.without(leaving)
    return torch.argsort(torch.cat(order)).double()[None]
