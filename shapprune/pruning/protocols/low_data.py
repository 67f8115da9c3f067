"""Pruning with little data: layer by layer from the output to the input, without any fine-tuning.

Source: section 4.2 of Ancona et al. 2020.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from shapprune.core.errors import ShapPruneError
from shapprune.game.layer_game import LayerGame
from shapprune.pruning.choice import choose_for_loss, choose_units
from shapprune.pruning.removal import remove_units
from shapprune.pruning.repair import repair as repair_network
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
    ratio: float | None = None,
    aggregate: str = "mean",
    done: Mapping[str, Sequence[int]] | None = None,
    *,
    negative: bool = False,
    growth: float | None = None,
    multiple: int = 1,
    repair: str = "none",
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
        negative: instead of a ratio, the units with a negative score leave.
        growth: or so many units that the loss on the scoring images grows by no more than this share of it, in each
            step.
        multiple: what the number of units kept is a multiple of, rounded up; not with ``growth``.
        repair: what is done to the network after each step with the scoring images, for all layers that have lost
            units so far (`shapprune.pruning.repair.repair`).
        game: further arguments of `LayerGame`, e.g. ``payoff="margin"``.

    Yields:
        A Step for each layer.

    Raises:
        ShapPruneError: not exactly one of ratio, negative and growth, or one that is not allowed
            (`shapprune.pruning.choice.choose_units`, `shapprune.pruning.choice.choose_for_loss`).
    """
    if (ratio is not None) + negative + (growth is not None) != 1:
        raise ShapPruneError("give exactly one of ratio, negative and growth")
    whole, gone = model, dict[str, list[int]]()
    for step, layer in enumerate(reversed(layers), start=1):
        if done is not None and layer in done:
            scores, removed = None, list(done[layer])
        else:
            played = LayerGame(model, layer, images, labels, **game)
            scores = score(played)
            if growth is not None:
                removed = choose_for_loss(played, scores.order(aggregate), growth)
            else:
                of_layer = {layer: scores.aggregate(aggregate)}
                removed = choose_units(of_layer, ratio=ratio, negative=negative, multiple=multiple)[layer]
        gone[layer] = removed
        # From the whole network each time: one repair of all layers, from input to output, mends more than many do.
        model = repair_network(remove_units(whole, gone, images), whole, gone, images, repair)
        yield Step(step, layer, removed, model, scores)
