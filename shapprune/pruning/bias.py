"""A repair: what the removed units put into a layer on average is added to its bias.

Source: An et al. 2024, "Fluctuation-based adaptive structured pruning for large language models" (FLAP), baseline bias
compensation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor, fx, nn

from shapprune.core.errors import ShapPruneError
from shapprune.graph.dependents import Dependencies
from shapprune.graph.operations import has_own_weights, keeps_forward
from shapprune.graph.rows import counted_rows
from shapprune.graph.unit_graph import UnitGraph
from shapprune.networks.batches import in_batches
from shapprune.networks.biases import add_bias
from shapprune.networks.named_inputs import counted_positions

# Images that run at a time.
_BATCH = 50


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
    means = _Means(graph, {name: each.inputs for name, each in lost.items() if each.inputs})
    for batch in in_batches(images, graph.at_once(_BATCH)):
        means.add(batch)
    for name, mean in means.found().items():
        kept = [unit for unit in range(graph.units_of(name)) if unit not in lost[name].outputs]
        _shift(small, graph, name, mean[kept])


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


class _Means(fx.Interpreter):
    """Runs a network and averages what some inputs of layers put into them.

    Args:
        graph: of the network.
        inputs: layer -> its inputs that are looked at: channels, or features. One that runs in training only is left
            out.
    """

    def __init__(self, graph: UnitGraph, inputs: Mapping[str, Collection[int]]):
        super().__init__(graph.traced)
        self._graph, self._readers = graph, dict[fx.Node, str]()
        for name in inputs:
            module, calls = graph.modules[name], graph.calls.get(name, [])
            if not calls and keeps_forward(module):
                continue
            if len(calls) != 1 or not has_own_weights(module):
                raise ShapPruneError(
                    f"repair 'bias' cannot mend {name!r}, which reads units that left: it is not used just once in a"
                    " pass, or its weights are computed from others"
                )
            self._readers[calls[0]] = name
        self._inputs = {name: sorted(each) for name, each in inputs.items()}
        self._sums, self._counts = dict[str, Tensor](), Counter[str]()
        self._counted: Tensor | None = None

    def found(self) -> dict[str, Tensor]:
        """Layer -> the mean over images and positions of what the inputs put into its outputs, float64 [units]."""
        return {name: each / self._counts[name] for name, each in self._sums.items()}

    def add(self, images: Tensor) -> None:
        """Run the network on some images."""
        self._counted = counted_positions(self._graph.modules[""], images)
        self._images = len(images)
        self.run(images)

    def run_node(self, n: fx.Node) -> object:
        if n in self._readers:
            self._note(self._readers[n], self.env[n.all_input_nodes[0]])
        return super().run_node(n)

    def _note(self, name: str, values: Tensor) -> None:
        layer = self._graph.modules[name]
        axis = -1 if isinstance(layer, nn.Linear) else 1
        places = torch.tensor(self._inputs[name], device=values.device)
        alone = torch.zeros_like(values).index_copy_(axis, places, values.index_select(axis, places))
        put = layer(alone).double().movedim(axis, -1)
        put = put.reshape(self._images, -1, put.shape[-1])
        counted = counted_rows(self._counted, put)
        put = put.flatten(0, 1) if counted is None else put[counted]
        if layer.bias is not None:
            put -= layer.bias
        self._sums[name] = self._sums.get(name, 0) + put.sum(0)
        self._counts[name] += len(put)
