"""What goes into the layers of a network, seen in one pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, fx

from shapprune.graph.unit_graph import UnitGraph
from shapprune.networks.batches import in_batches
from shapprune.networks.modes import mode
from shapprune.networks.named_inputs import counted_positions

# What sees the inputs of a layer for a batch, and which positions of its sequences are no padding, bool [N, T].
See = Callable[[Tensor, Tensor | None], object]
# Images that run at a time.
_BATCH = 50


@torch.no_grad()
def show_inputs(graph: UnitGraph, shown: Mapping[str, See], images: Tensor) -> None:
    """Run a network in eval mode, and show functions what goes into some layers.

    Args:
        graph: of the network.
        shown: layer that is used once in a pass -> a function that is called for each batch with what goes into the
            layer, and which positions count; None for all.
        images: [N, ...].

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from shapprune.graph.inputs import show_inputs
        >>> from shapprune.graph.unit_graph import UnitGraph
        >>> model, images = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), torch.rand(60, 4)
        >>> shapes = []
        >>> show_inputs(UnitGraph(model, images), {"2": lambda values, counted: shapes.append(values.shape)}, images)
        >>> shapes
        [torch.Size([50, 3]), torch.Size([10, 3])]
    """
    shower = _Shower(graph, shown)
    with mode(graph.traced, training=False):
        for batch in in_batches(images, graph.at_once(_BATCH)):
            shower.counted = counted_positions(graph.modules[""], batch)
            shower.run(batch)


class _Shower(fx.Interpreter):
    """Runs a network; arguments are as for `show_inputs`."""

    def __init__(self, graph: UnitGraph, shown: Mapping[str, See]):
        super().__init__(graph.traced)
        self._shown = {graph.calls[name][0]: each for name, each in shown.items()}
        self.counted: Tensor | None = None

    def run_node(self, n: fx.Node) -> object:
        if n in self._shown:
            self._shown[n](self.env[n.all_input_nodes[0]], self.counted)
        return super().run_node(n)
