"""The pruning loop: score units, remove the lowest, repair what is left, layer by layer or all layers at once.

Three choices are independent of each other: which units leave (scores and their aggregate), how many of each layer (the
target and its allocation), and what mends the network afterwards (the repair).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from torch import Tensor, nn

from shapprune.core.errors import ShapPruneError
from shapprune.game.layer_game import LayerGame
from shapprune.graph.dependents import Dependencies
from shapprune.graph.unit_graph import UnitGraph
from shapprune.pruning.allocation import allocate
from shapprune.pruning.choice import choose_for_loss, lowest_units
from shapprune.pruning.removal import without_units
from shapprune.pruning.repair import repair as repair_network
from shapprune.pruning.target import Target
from shapprune.shapley.scores import UnitScores

ScoreLayer = Callable[[LayerGame], UnitScores]


@dataclass(frozen=True)
class Step:
    """What a step of the loop has done.

    Attributes:
        number: 1, 2, ...
        removed: layer -> units that left it in this step, in increasing order.
        model: the network after the step.
        scores: layer -> its scores, where they were made in this step.
    """

    number: int
    removed: dict[str, list[int]]
    model: nn.Module
    scores: dict[str, UnitScores]


def prune_steps(
    model: nn.Module,
    layers: Sequence[str],
    target: Target,
    images: Tensor,
    labels: Tensor | None = None,
    score: ScoreLayer | None = None,
    *,
    aggregate: str = "mean",
    repair: str = "none",
    sequential: bool = True,
    stored: Mapping[str, UnitScores] | None = None,
    done: Mapping[str, Sequence[int]] | None = None,
    **game: Any,
) -> Iterator[Step]:
    """Prune a network from the output to the input, each layer scored on the network that the steps before have left.

    Every step starts from the whole network and removes what all steps so far have chosen: one repair of all layers,
    from input to output, mends more than one repair a step.

    Args:
        model: the network; it is left as it is.
        layers: those to prune, in the order they run.
        target: how far they are pruned.
        images: scoring images, [N, ...]; the repair sees them too.
        labels: their labels, [N]; not needed where all scores are stored.
        score: the criterion, e.g. ``lambda game: shapprune.score(game, "taylor")``; not needed where all scores are
            stored.
        aggregate: how scores of examples become one score a unit.
        repair: what mends the network after each step (`shapprune.pruning.repair.repair`).
        sequential: False scores all layers on the whole network and removes their units in one step.
        stored: layer -> scores that were made before, which the layer is pruned by.
        done: layer -> units that left it in an earlier run of the loop; it is not scored again.
        game: further arguments of `LayerGame`, e.g. ``payoff="margin"``.

    Yields:
        A Step for each layer, or group of layers that lose units together; one for all where not sequential.

    Raises:
        ShapPruneError: a layer that cannot be pruned, a target that cannot be met, or a layer without scores where
            labels or criterion are missing.

    Source: one layer after the other: Ancona et al. 2020, section 4.2, and section 3.3 for untrained networks, whose
    negative units leave; all at once: Adamczewski et al. 2024.
    """
    graph = UnitGraph(model, images[:2])
    for layer in layers:
        graph.start(layer)  # refuses a layer that is not there
    units = {layer: graph.units_of(layer) for layer in layers}
    steps: list[tuple[str, ...]] = target.together(units)[::-1]
    if not sequential:
        steps = [tuple(layers)] if layers else []
    done = done or {}
    widths = allocate(target, units, model, images) if any(layer not in done for layer in layers) else None
    scorer = _Scorer(graph, target, images, labels, score, stored or {}, aggregate, game)
    pruned, gone = model, dict[str, list[int]]()
    for number, together in enumerate(steps, start=1):
        scores: dict[str, UnitScores] = {}
        if all(layer in done for layer in together):
            removed = {layer: list(done[layer]) for layer in together}
        else:
            removed, scores = scorer.choose(pruned, together, widths)
        gone |= removed
        pruned = repair_network(without_units(graph, gone, images), model, gone, images, repair, graph)
        yield Step(number, removed, pruned, scores)


class _Scored(NamedTuple):
    """Scores of a layer, whether they are new, and how many units the allowed growth of the loss keeps."""

    scores: UnitScores
    new: bool
    width: int | None


@dataclass(frozen=True)
class _Scorer:
    """How a step chooses units; the attributes but for the graph of the network are arguments of `prune_steps`."""

    graph: UnitGraph
    target: Target
    images: Tensor
    labels: Tensor | None
    score: ScoreLayer | None
    stored: Mapping[str, UnitScores]
    aggregate: str
    options: Mapping[str, Any]

    def choose(
        self, model: nn.Module, layers: Sequence[str], widths: Mapping[str, int] | None
    ) -> tuple[dict[str, list[int]], dict[str, UnitScores]]:
        """Choose the units of some layers that leave; also their new scores."""
        known = cache(lambda: self._dependencies(model))
        scored = {layer: self._layer(model, layer, known) for layer in layers}
        values = {layer: found.scores.aggregate(self.aggregate) for layer, found in scored.items()}
        if self.target.loss_growth is not None:
            widths = {layer: found.width for layer, found in scored.items() if found.width is not None}
        new = {layer: found.scores for layer, found in scored.items() if found.new}
        return lowest_units(values, self.target, widths), new

    def _dependencies(self, model: nn.Module) -> Dependencies:
        """What depends on units of the network before, which is traced already, or of one that steps have left."""
        example, graph = self.images[:2], self.graph
        return Dependencies(model, example, graph if graph.modules[""] is model else None)

    def _layer(self, model: nn.Module, layer: str, known: Callable[[], Dependencies]) -> _Scored:
        growth, scores = self.target.loss_growth, self.stored.get(layer)
        if scores is not None and growth is None:
            return _Scored(scores, False, None)
        if self.labels is None or (scores is None and self.score is None):
            raise ShapPruneError(f"layer {layer!r} has no stored scores, so it needs labels and a criterion")
        game = LayerGame(model, layer, self.images, self.labels, dependencies=known(), **self.options)
        new = scores is None
        if scores is None:
            assert self.score is not None  # checked above
            scores = self.score(game)
        if growth is None:
            return _Scored(scores, new, None)
        gone = choose_for_loss(game, scores.order(self.aggregate), growth)
        return _Scored(scores, new, self.target.round_up(game.units - len(gone), game.units))
