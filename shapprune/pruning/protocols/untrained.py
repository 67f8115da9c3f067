"""Networks that were never trained: units that make the loss higher leave, and what is left does better than chance.

Source: section 3.3 of Ancona et al. 2020.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from shapprune.game.layer_game import LayerGame
from shapprune.pruning.protocols.low_data import Step, prune_sequentially
from shapprune.shapley.scores import UnitScores


def prune_untrained(
    model: nn.Module,
    layers: Sequence[str],
    images: Tensor,
    labels: Tensor,
    score: Callable[[LayerGame], UnitScores],
    done: Mapping[str, Sequence[int]] | None = None,
    **game: Any,
) -> Iterator[Step]:
    """Remove the units whose mean score is negative, layer by layer from the last to the first.

    Criteria without negative scores (norms, absolute values) remove nothing.

    Args:
        model: the network with its random weights; it is left as it is.
        layers: names of the layers to prune, in the order they run.
        images: scoring images, [N, ...].
        labels: their labels, [N].
        score: the criterion, e.g. ``lambda game: shapprune.score(game, "taylor", signed=True)``.
        done: layer -> units that leave it, for the steps that were done before; they are not scored again.
        game: further arguments of `LayerGame`.

    Yields:
        A Step for each layer.
    """
    return prune_sequentially(model, layers, images, labels, score, aggregate="mean", done=done, negative=True, **game)
