"""Score units by any criterion of the catalog."""

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
        criterion: a name in the catalog (docs/criteria.md), e.g. ``"taylor"`` or ``"permutation"``.
        seed: of the draws of a random criterion. What is drawn for an example depends on the seed, the layer, the place
            of the example (``LayerGame.examples``) and the number of the draw only. So it does not change with the
            other examples, and global random states are neither read nor changed.
        checkpoint: a file for the state of a long scoring, of those criteria that work in draws or stages. It is
            written every 10 seconds. The same scoring called again continues after its last finished batch, with the
            same result as without an interruption. The file is left for the caller to delete.
        options: the criterion's own options.

    Raises:
        ShapPruneError: an unknown criterion or option, or a value that is not allowed.

    Examples:
        >>> import torch, shapprune
        >>> network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
        >>> game = shapprune.LayerGame(network, "0", torch.rand(5, 3), torch.tensor([0, 1, 0, 1, 1]))
        >>> scores = shapprune.score(game, "weight-norm", norm="l2")
        >>> scores.values.shape
        torch.Size([1, 4])
        >>> torch.allclose(scores.values[0], network[0].weight.norm(dim=1).double())
        True
    """
    declared = lookup(criterion)
    settings = check_options(criterion, options)
    if declared.random:
        settings["seed"] = seed
    if declared.resumes:
        settings["checkpoint"] = checkpoint
    from shapprune.networks.modes import outside_inference  # with torch, which the catalog does without

    return outside_inference(resolve_function(declared.function, "criterion"))(game, **settings)
