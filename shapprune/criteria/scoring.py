"""Criteria: functions of a game that return UnitScores. The table of them is `shapprune.criteria.catalog`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from shapprune.core.resolve import resolve_function
from shapprune.criteria.catalog import CATALOG, check_options, lookup

if TYPE_CHECKING:
    from shapprune.game.protocol import Game
    from shapprune.shapley.scores import UnitScores

__all__ = ["CATALOG", "lookup", "score"]


def score(
    game: Game, criterion: str, *, seed: int = 0, checkpoint: Path | None = None, **options: object
) -> UnitScores:
    """Score the units of a layer by any criterion of the catalog.

    Args:
        game: the layer.
        criterion: a name of the catalog, e.g. ``"taylor"`` or ``"permutation"``.
        seed: for the criteria that draw at random.
        checkpoint: for the criteria that come in draws or stages: a file that is written now and then; a scoring that
            was cut off goes on from it and comes out the same. It is left there for the caller to delete.
        options: the criterion's own options.

    Raises:
        ShapPruneError: an unknown criterion or option, or a value that is not allowed.
    """
    entry = lookup(criterion)
    settings = check_options(criterion, options)
    if entry.random:
        settings["seed"] = seed
    if entry.resumes:
        settings["checkpoint"] = checkpoint
    return resolve_function(entry.function, "criterion")(game, **settings)
