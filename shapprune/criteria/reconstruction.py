"""The criterion that lets units leave by what the layers that read them cannot make up for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from shapprune.core.errors import ShapPruneError
from shapprune.criteria.elimination import Elimination, Reading, eliminate
from shapprune.game.layer_game import LayerGame
from shapprune.graph.dependents import Dependencies, Dependent
from shapprune.graph.inputs import show_inputs
from shapprune.graph.refusals import kind_of
from shapprune.graph.rows import Spread, has_rows
from shapprune.networks.folding import scale_of
from shapprune.shapley.criterion import criterion


@criterion("reconstruction", limits={"ridge": {"above": 0}, "norm_power": {"minimum": 0}})
def reconstruction(game: LayerGame, ridge: float = 0.01, norm_power: float = 2.0) -> Tensor:
    """Share of the readers' variance that is lost when the unit leaves and all others make up for it.

    Units leave one after the other, always the one that the layers that read the units can do without most easily with
    their weights fitted again; labels are not looked at. What is lost with a unit is seen on few images, and the norm
    of its own weights was made by all that the network was trained on, so the loss is multiplied by a power of the norm
    before the least is looked for. A unit's value is what is lost once it is gone, so values are in the order of
    leaving. Values are [1, n].

    Args:
        game: the layer.
        ridge: how firmly the readers' weights are held, in units of the mean variance of their inputs.
        norm_power: the power of the norm of a unit's incoming weights; 0 looks at the loss alone, as the sources do.

    Source: Hassibi and Stork 1993, optimal brain surgeon, for groups of weights; Kurtic et al. 2023.
    """
    found = eliminate_units(readings_of(game), squared_norms([game.incoming]), ridge, norm_power)
    return found.values.to(game.device)[None]


def eliminate_units(readings: Sequence[Reading], squares: Tensor, ridge: float, norm_power: float) -> Elimination:
    """Let units leave as the criterion says.

    Args:
        readings: of the layers that read the units.
        squares: `squared_norms` of the units, [n].
        ridge: as for `reconstruction`.
        norm_power: as there.
    """
    return eliminate(readings, ridge, prior=squares ** (norm_power / 2))


def squared_norms(incoming: Iterable[Tensor]) -> Tensor:
    """The squared norms of the weights that make units, [n].

    Args:
        incoming: these weights in each of the layers that lose the units together, [n, k].
    """
    return torch.stack([each.square().sum(1) for each in incoming]).sum(0)


def readings_of(game: LayerGame, centred: bool | None = None) -> list[Reading]:
    """How the layers that read the units of a game read them, on its images.

    Args:
        game: the layer.
        centred: whether means are taken away; by default where a bias can make up for them.
    """
    readers = Readers(game.dependencies)
    return readers.read({game.layer: readers.of(game.layer)}, game.images, centred)[game.layer]


class Readers:
    """The layers that read units, and how they read them.

    Args:
        dependencies: of the network's units.
    """

    def __init__(self, dependencies: Dependencies):
        self._graph, self._dependencies = dependencies.graph, dependencies

    def of(self, layer: str) -> list[Dependent]:
        """The layers that read the units of a layer.

        Raises:
            ShapPruneError: one of them cannot be fitted by least squares, or there are none.
        """
        found = [each for each in self._dependencies.of(layer) if each.reads and self._graph.runs(each.name)]
        for each in found:
            module = self._graph.modules[each.name]
            if not has_rows(module):
                raise ShapPruneError(f"units of layer {layer!r} are read by {each.name!r}, {kind_of(module)}")
            if len(self._graph.calls.get(each.name, ())) != 1:
                raise ShapPruneError(
                    f"units of layer {layer!r} are read by {each.name!r}, which is not used just once in a pass"
                )
            if self._graph.is_tied(each.name):
                raise ShapPruneError(
                    f"units of layer {layer!r} are read by {each.name!r}, whose weights another module has too"
                )
        if not found:
            raise ShapPruneError(f"units of layer {layer!r} are read by no layer")
        return found

    @torch.no_grad()
    def read(
        self, readers: Mapping[str, Sequence[Dependent]], images: Tensor, centred: bool | None = None
    ) -> dict[str, list[Reading]]:
        """Run the network and collect how layers read units.

        Args:
            readers: layer -> those of its units (`of`).
            images: calibration images, [N, ...].
            centred: whether means are taken away; by default where a bias can make up for them.

        Returns:
            Layer -> a reading for each of its readers.
        """
        names = dict.fromkeys(each.name for some in readers.values() for each in some)
        spreads = self._collect(names, images, centred)
        return {layer: [self._reading(each, spreads[each.name]) for each in some] for layer, some in readers.items()}

    def _collect(self, names: Iterable[str], images: Tensor, centred: bool | None) -> dict[str, Spread]:
        spreads = {}
        for name in names:
            layer, (node,) = self._graph.modules[name], self._graph.calls[name]
            positions = self._graph.numbers_of(node) // self._graph.units_of(name)
            away = self._graph.takes_intercept(name) if centred is None else centred
            spreads[name] = Spread(layer, positions, len(images), away)
        show_inputs(self._graph, {name: spread.add for name, spread in spreads.items()}, images)
        return spreads

    def _reading(self, reader: Dependent, spread: Spread) -> Reading:
        module = self._graph.modules[reader.name]
        weights = module.get_parameter("weight").double().flatten(1).mT.contiguous()
        kernel = module.weight[0, 0].numel() if isinstance(module, nn.Conv2d) else 1
        places = (reader.places[:, :, None] * kernel + torch.arange(kernel)).flatten(1)
        norm = self._graph.norm_behind(reader.name)
        scale = torch.ones(weights.shape[1], device=weights.device)
        if norm is not None:
            scale = scale_of(self._graph.modules[norm])
        return Reading(spread.rows(), spread.means, weights, scale.square(), places.to(weights.device))
