"""Which units of which layers leave first, and what it costs the outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, fx, nn

from shapprune.core.errors import ShapPruneError, because
from shapprune.core.progress import track
from shapprune.criteria.catalog import check_options
from shapprune.criteria.elimination import Elimination, Reading, eliminate, fit_to_fewer
from shapprune.criteria.reconstruction import Readers, eliminate_units, squared_norms
from shapprune.criteria.scoring import score
from shapprune.game.layer_game import LayerGame
from shapprune.graph.dependents import Dependencies, Dependent
from shapprune.graph.incoming import incoming_weights
from shapprune.graph.prunable import layers_of
from shapprune.graph.sizes import Sizes
from shapprune.graph.unit_graph import UnitGraph
from shapprune.pruning.damage import Damage, DamageMeter, levels
from shapprune.pruning.divergence import run

RECONSTRUCTION = "reconstruction"
# Numbers in the Gram matrices that are held at the same time (512 MiB as float64).
_NUMBERS = 2**26


@dataclass(frozen=True)
class Structure:
    """What can leave a network.

    Attributes:
        model: the network.
        graph: of it.
        dependencies: of its units.
        groups: first layer of each group of layers that lose units together -> all of them.
        readers: first layer -> the layers that read the units, in the order they run.
        left_whole: layer whose units cannot be chosen or made up for -> why.
        sizes: of the network by the widths of the groups.
        example: images that it can run on, [N, ...].
    """

    model: nn.Module
    graph: UnitGraph
    dependencies: Dependencies
    groups: dict[str, tuple[str, ...]]
    readers: dict[str, list[Dependent]]
    left_whole: dict[str, str]
    sizes: Sizes
    example: Tensor

    @classmethod
    def of(
        cls, model: nn.Module, example: Tensor, skip: Sequence[str] = (), traced: fx.GraphModule | None = None
    ) -> Structure:
        """Look at a network in eval mode.

        Args:
            model: the network.
            example: images that it can run on, [N, ...].
            skip: layers that are left whole.
            traced: the graph of the network, where it has been recorded already.

        Raises:
            ShapPruneError: nothing can leave it, a layer to skip that is not there, or images have a say in each other.
        """
        graph = UnitGraph(model, example, traced)
        graph.require(*skip)
        graph.company.require_independence()
        dependencies = Dependencies(model, example, graph)
        found, groups, readers = Readers(dependencies), {}, {}
        layers = layers_of(graph, example, coupled=True)
        left_whole: dict[str, str] = {}
        for layer in layers:
            if not layer.group:
                left_whole[layer.name] = str(layer.coupled)
            elif set(skip) & set(layer.group):
                left_whole[layer.name] = "it is skipped"
            elif layer.group[0] == layer.name:
                try:
                    readers[layer.name] = found.of(layer.name)
                    groups[layer.name] = layer.group
                except ShapPruneError as error:
                    left_whole |= dict.fromkeys(layer.group, str(error))
        if not groups:
            reasons = because(left_whole) or "it has no hidden layer"
            raise ShapPruneError(f"no units of {type(model).__name__} can leave ({reasons})")
        sizes = Sizes(model, graph, dependencies, list(groups))
        return cls(model, graph, dependencies, groups, readers, left_whole, sizes, example)

    @cached_property
    def squared_norms(self) -> dict[str, Tensor]:
        """First layer of each group -> the squared norms of the weights that make its units, in all its layers, [n]."""
        return {
            layer: squared_norms(incoming_weights(self.graph, each, self.example) for each in group)
            for layer, group in self.groups.items()
        }

    def removed(self, orders: Mapping[str, Sequence[int]], widths: Mapping[str, int]) -> dict[str, list[int]]:
        """The units that leave each layer.

        Args:
            orders: first layer of a group -> its units from the first to leave to the last.
            widths: first layer -> how many stay.
        """
        gone = {layer: sorted(orders[layer][: len(orders[layer]) - width]) for layer, width in widths.items()}
        return {name: gone[layer] for layer in widths for name in self.groups[layer] if gone[layer]}


@dataclass(frozen=True)
class Selector:
    """Puts the units of a network in the order in which they leave.

    Attributes:
        structure: of the network.
        criterion: what orders them.
        options: of the criterion.
        aggregate: how its scores of examples become one score.
        seed: of the criterion's draws.
        multiple: the numbers of units left at which damage is measured are multiples of it.
        progress: report progress.
    """

    structure: Structure
    criterion: str = RECONSTRUCTION
    options: Mapping[str, Any] = field(default_factory=dict)
    aggregate: str = "mean"
    seed: int = 0
    multiple: int = 1
    progress: bool = False

    def orders(self, images: Tensor, labels: Tensor | None = None) -> dict[str, list[int]]:
        """The order in which the units of each group leave.

        Args:
            images: calibration images, [N, ...].
            labels: of the images, for criteria that look at labels; by default what the network says.
        """
        if self.criterion != RECONSTRUCTION:
            return self._scored(images, labels)
        return {layer: self._eliminated(layer, reads).order for layer, reads in self._readings(images)}

    @torch.no_grad()
    def damage(self, images: Tensor, labels: Tensor | None = None) -> dict[str, Damage]:
        """Measure what the outputs lose when one group loses units, by its order.

        Readers are fitted to one half of the images and the outputs looked at on the other, and `reconstruction` orders
        units by the same half: on the images that they were made with, orders and fits look better than they are, and
        most so in wide layers. Other criteria score the units once, with all images.

        Args:
            images: calibration images, [N, ...].
            labels: as for `orders`.
        """
        orders, lost = {}, {}
        given = {} if self.criterion == RECONSTRUCTION else self._scored(images, labels)
        for layer, reads in self._readings(images):
            if layer in given:
                found = eliminate(reads, self._own_options["ridge"], given[layer])
            else:
                found = self._eliminated(layer, reads)
            orders[layer], lost[layer] = found.order, found.lost
        halves = images[::2], images[1::2]
        measured = [self._measured(fitted, held, given) for fitted, held in (halves, halves[::-1])]
        shares = [len(half) / len(images) for half in reversed(halves)]
        return {
            layer: Damage(
                order,
                {
                    width: sum(share * half[layer][width] for share, half in zip(shares, measured, strict=True))
                    for width in measured[0][layer]
                },
                lost[layer],
            )
            for layer, order in orders.items()
        }

    @property
    def _own_options(self) -> dict[str, Any]:
        """The options of `reconstruction`, which decide how readers are fitted under other criteria too."""
        return check_options(RECONSTRUCTION, self.options if self.criterion == RECONSTRUCTION else {})

    def _eliminated(self, layer: str, reads: Sequence[Reading]) -> Elimination:
        """How the units of a group leave by the criterion `reconstruction`."""
        return eliminate_units(reads, self.structure.squared_norms[layer], **self._own_options)

    def _measured(self, fitted: Tensor, held: Tensor, given: Mapping[str, list[int]]) -> dict[str, dict[int, float]]:
        """What the outputs lose for some images, with readers fitted to others, at some widths of each group.

        Args:
            fitted: images that readers are fitted to, and that put units in order.
            held: images on which outputs are looked at.
            given: orders that have been made by other means.
        """
        meter, found = DamageMeter(self.structure.graph, held), {}
        for layer, reads in self._readings(fitted):
            keep = levels(self.structure.sizes.full[layer], self.multiple)
            names = (each.name for each in self.structure.readers[layer])
            order = given[layer] if layer in given else self._eliminated(layer, reads).order
            fits = fit_to_fewer(reads, order, keep, self._own_options["ridge"])
            found[layer] = meter.measure(dict(zip(names, reads, strict=True)), fits)
        return found

    def _scored(self, images: Tensor, labels: Tensor | None) -> dict[str, list[int]]:
        """Orders by a criterion of the catalog, each layer scored on the whole network."""
        structure = self.structure
        if labels is None:
            labels = run(structure.model, images).argmax(1)
        found = {}
        for layer, group in self._tracked(structure.groups.items(), "scoring layers"):
            model, known = structure.model, structure.dependencies
            games = (LayerGame(model, name, images, labels, dependencies=known) for name in group)
            scores = [score(game, self.criterion, seed=self.seed, **self.options) for game in games]
            total = torch.stack([each.aggregate(self.aggregate) for each in scores]).sum(0)
            found[layer] = total.argsort(stable=True).tolist()
        return found

    def _readings(self, images: Tensor) -> Iterator[tuple[str, list[Reading]]]:
        """How the units of each group are read, in one or more passes of the network."""
        structure = self.structure
        readers = Readers(structure.dependencies)
        some: dict[str, list[Dependent]] = {}
        numbers = 0
        for layer in self._tracked(structure.groups, "layers"):
            names = {each.name for each in structure.readers[layer]}
            more = sum(structure.graph.modules[name].get_parameter("weight")[0].numel() ** 2 for name in names)
            if some and numbers + more > _NUMBERS:
                yield from readers.read(some, images).items()
                some, numbers = {}, 0
            some[layer] = structure.readers[layer]
            numbers += more
        yield from readers.read(some, images).items()

    def _tracked(self, steps: Any, what: str) -> Any:
        return track(steps, what) if self.progress else steps
