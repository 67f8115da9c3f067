"""Criteria: functions of a LayerGame that return UnitScores. The table of them is `shapprune.criteria.catalog`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shapprune.criteria.catalog import CATALOG, check_options, lookup
from shapprune.resolve import resolve_function

if TYPE_CHECKING:
    from shapprune.game import LayerGame
    from shapprune.shapley.scores import UnitScores

__all__ = ["CATALOG", "lookup", "score"]


def score(game: LayerGame, criterion: str, *, seed: int = 0, **options: object) -> UnitScores:
    """Score the units of a layer by any criterion of the catalog.

    Args:
        game: the layer.
        criterion: a name of the catalog, e.g. ``"taylor"`` or ``"permutation"``.
        seed: for the criteria that draw at random.
        options: the criterion's own options.

    Raises:
        ShapPruneError: an unknown criterion or option, or a value that is not allowed.
    """
    entry = lookup(criterion)
    settings = check_options(criterion, options)
    if entry.random:
        settings["seed"] = seed
    return resolve_function(entry.function, "criterion")(game, **settings)
