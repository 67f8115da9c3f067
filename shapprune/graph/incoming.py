"""The weights that make units."""

from __future__ import annotations

import torch
from torch import Tensor

from shapprune.core.errors import ShapPruneError
from shapprune.graph.exporting import Transposed
from shapprune.graph.head_parts import head_parts
from shapprune.graph.operations import LAYERS, has_own_weights, weight_of
from shapprune.graph.parts import Part
from shapprune.graph.unit_graph import UnitGraph


def incoming_parts(graph: UnitGraph, layer: str, example: Tensor) -> list[Part]:
    """The parts of parameters that make the units of a layer.

    Args:
        graph: of the network.
        layer: whose units; of attention heads, the module that has them.
        example: images, [N, ...].

    Raises:
        ShapPruneError: the weights of the layer are computed from others in each pass.
    """
    if layer in graph.attentions:
        parts, _ = head_parts(graph, layer, example)
        return [each for each in parts if graph.modules[""].get_parameter(each.name).dim() > 1]
    module = graph.modules[layer]
    if not has_own_weights(module):
        raise ShapPruneError(f"the weights of layer {layer!r} are computed from others, so they have no gradient")
    places = torch.arange(graph.units_of(layer))[:, None]
    return [Part(layer, "weight", int(isinstance(module, Transposed)), places)]


def incoming_weights(graph: UnitGraph, layer: str, example: Tensor) -> Tensor:
    """The weights that make each unit of a layer, float64 [n, k]; of a head those of its queries, keys and values.

    Args:
        graph: of the network.
        layer: whose units.
        example: images, [N, ...].
    """
    if isinstance(graph.modules[layer], LAYERS):
        return weight_of(graph.modules[layer]).detach().flatten(1).double()
    parts = incoming_parts(graph, layer, example)
    tensors = (each.of_units(graph.modules[""].get_parameter(each.name).detach()) for each in parts)
    return torch.cat(list(tensors), 1).double()
