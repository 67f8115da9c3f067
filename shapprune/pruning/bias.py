"""A repair: what the removed units put into a layer on average is added to its bias.

Source: An et al. 2024, "Fluctuation-based adaptive structured pruning for large language models" (FLAP), baseline bias
compensation.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor, nn

from shapprune.core.errors import ShapPruneError
from shapprune.graph.dependents import Dependencies
from shapprune.graph.inputs import show_inputs
from shapprune.graph.operations import has_own_weights
from shapprune.graph.rows import counted_rows
from shapprune.graph.unit_graph import UnitGraph
from shapprune.networks.biases import add_bias


@torch.no_grad()
def compensate(
    small: nn.Module,
    graph: UnitGraph,
    dependencies: Dependencies,
    units: Mapping[str, Sequence[int]],
    images: Tensor,
) -> None:
    """Add to the biases of the layers that read lost units what these put into them on average, in the whole network.

    Averages are taken over images and positions, without padding. Of a layer without a bias the running mean of the
    BatchNorm behind it takes the amount; where there is none, the layer gets a bias. Weights stay.

    Args:
        small: the network that has lost units; it is changed in place.
        graph: of the network before, in eval mode.
        dependencies: of its units.
        units: layer -> indices of the units that left.
        images: calibration images, [N, ...].

    Raises:
        ShapPruneError: a layer that reads the units is used several times, or has neither a bias nor a place for one.
    """
    lost = dependencies.lost(units)
    means = {name: _Mean(graph, name, each.inputs) for name, each in lost.items() if each.inputs and graph.runs(name)}
    show_inputs(graph, {name: mean.add for name, mean in means.items()}, images)
    for name, mean in means.items():
        kept = [unit for unit in range(graph.units_of(name)) if unit not in lost[name].outputs]
        _shift(small, graph, name, mean.found[kept])


def _shift(small: nn.Module, graph: UnitGraph, name: str, amount: Tensor) -> None:
    """Add an amount to what a layer puts out, [units]."""
    layer, norm = small.get_submodule(name), graph.norm_behind(name)
    if layer.bias is None and norm is not None:
        mean = small.get_submodule(norm).get_buffer("running_mean")
        mean.sub_(amount.to(mean.dtype))
        return
    if layer.bias is None:
        add_bias(small, name)
    layer.get_parameter("bias").add_(amount)


class _Mean:
    """Averages what some inputs of a layer put into its outputs.

    Args:
        graph: of the network.
        name: of the layer.
        inputs: that are looked at: channels, or features.

    Raises:
        ShapPruneError: the layer is not used just once, or its weights are not its own.
    """

    def __init__(self, graph: UnitGraph, name: str, inputs: Collection[int]):
        if len(graph.calls.get(name, ())) != 1 or not has_own_weights(graph.modules[name]):
            raise ShapPruneError(
                f"repair 'bias' cannot mend {name!r}, which reads units that left: it is not used just once in a pass,"
                " or its weights are computed from others"
            )
        self._layer, self._inputs = graph.modules[name], sorted(inputs)
        self._units = graph.units_of(name)
        self._positions = graph.numbers_of(graph.calls[name][0]) // self._units
        self._sum, self._count = torch.zeros(()), 0

    @property
    def found(self) -> Tensor:
        """The mean over images and positions, float64 [units]."""
        return self._sum / self._count

    def add(self, values: Tensor, counted: Tensor | None) -> None:
        """Add what goes into the layer for some images, at the positions that count, bool [N, T]; None for all."""
        layer = self._layer
        axis = -1 if isinstance(layer, nn.Linear) else 1
        places = torch.tensor(self._inputs, device=values.device)
        alone = torch.zeros_like(values).index_copy_(axis, places, values.index_select(axis, places))
        put = layer(alone).double().movedim(axis, -1).reshape(-1, self._positions, self._units)
        counted = counted_rows(counted, put)
        put = put.flatten(0, 1) if counted is None else put[counted]
        if layer.bias is not None:
            put -= layer.bias
        self._sum = self._sum.to(put.device) + put.sum(0)
        self._count += len(put)
