"""Pruning with little data: layer by layer from the output to the input, without any fine-tuning.

Source: section 4.2 of Ancona et al. 2020.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from shapprune.errors import ShapPruneError
from shapprune.game import LayerGame
from shapprune.removal import remove_units
from shapprune.shapley.scores import UnitScores


@dataclass(frozen=True)
class Step:
    """One step of the protocol.

    Attributes:
        step: 1, 2, ...
        layer: the layer that was pruned.
        removed: the units that left it, in increasing order.
        model: the network after the step.
        scores: what the choice was made by; None for a step that was done before.
    """

    step: int
    layer: str
    removed: list[int]
    model: nn.Module
    scores: UnitScores | None


def prune_sequentially(
    model: nn.Module,
    layers: Sequence[str],
    images: Tensor,
    labels: Tensor,
    score: Callable[[LayerGame], UnitScores],
    ratio: float,
    aggregate: str = "mean",
    done: Mapping[str, Sequence[int]] | None = None,
    **game: Any,
) -> Iterator[Step]:
    """Prune layers from the last to the first, each scored on the network that the steps before have left.

    Args:
        model: the trained network; it is left as it is.
        layers: names of the layers to prune, in the order they run.
        images: scoring images, [N, ...].
        labels: their labels, [N].
        score: the criterion, e.g. ``lambda game: shapprune.score(game, "taylor")``.
        ratio: share of the units of each layer that leaves, rounded down to whole units.
        aggregate: how scores of examples become one score a unit.
        done: layer -> units that leave it, for the steps that were done before; they are not scored again.
        game: further arguments of `LayerGame`, e.g. ``payoff="margin"``.

    Yields:
        A Step for each layer.

    Raises:
        ShapPruneError: a ratio outside (0, 1).
    """
    if not 0 < ratio < 1:
        raise ShapPruneError(f"ratio {ratio} is not strictly between 0 and 1")
    for step, layer in enumerate(reversed(layers), start=1):
        if done is not None and layer in done:
            scores, removed = None, list(done[layer])
        else:
            scores = score(LayerGame(model, layer, images, labels, **game))
            removed = sorted(scores.order(aggregate)[: int(scores.values.shape[1] * ratio)].tolist())
        model = remove_units(model, {layer: removed}, images)
        yield Step(step, layer, removed, model, scores)
