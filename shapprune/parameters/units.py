"""The parameters that units have: their own rows, and all that leaves with them."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from shapprune.core.errors import ShapPruneError, unknown
from shapprune.graph.dependents import Dependencies
from shapprune.graph.head_parts import head_parts
from shapprune.graph.incoming import incoming_parts
from shapprune.graph.operations import LAYERS
from shapprune.graph.parts import Dependent, Part
from shapprune.graph.refusals import kind_of
from shapprune.graph.tokens import parts_of_linear
from shapprune.graph.unit_graph import UnitGraph
from shapprune.parameters.choice import first_names
from shapprune.parameters.pooling import Pooling

Scope = Literal["rows", "all"]
SCOPES = ("all", "rows")


class Pools:
    """Pools to the units of layers of a network, which is traced once for all of them.

    Args:
        model: the network; it is left as it is.
        example: images or tokens, [N, ...], that the network can run on.
        dependencies: of the network's units, where they are known already.

    Raises:
        ShapPruneError: the network cannot be traced.
    """

    def __init__(self, model: nn.Module, example: Tensor, dependencies: Dependencies | None = None):
        self._model, self._example = model, example[:2]
        self._dependencies = dependencies or Dependencies(model, self._example)
        self._graph = self._dependencies.graph
        self._first = first_names(model)

    def of(self, layer: str, *, scope: Scope = "all", how: str = "sum", biases: bool = True) -> Pooling:
        """Pool to the units of a layer; arguments and errors are those of `pool_units`."""
        if scope not in SCOPES:
            raise unknown("scope", scope, SCOPES)
        if layer in self._graph.attentions:
            parts, reader = head_parts(self._graph, layer, self._example)
            parts = [*parts, *(parts_of_linear(self._graph, reader) if scope == "all" else ())]
        else:
            parts = self._own_parts(layer) + (self._other_parts(layer) if scope == "all" else [])
        named = []
        for part in parts:
            if biases or self._model.get_parameter(part.name).dim() > 1:
                module, _, leaf = self._first[part.name].rpartition(".")
                named.append(Part(module, leaf, part.axis, part.places))
        return Pooling(named, how)

    def _own_parts(self, layer: str) -> list[Part]:
        """The parts of all parameters that make the units of a layer, in this layer alone."""
        self._graph.require(layer)
        parts = incoming_parts(self._graph, layer, self._example)
        if getattr(self._graph.modules[layer], "bias", None) is not None:
            parts.append(Part(layer, "bias", 0, parts[0].places))
        return parts

    def _other_parts(self, layer: str) -> list[Part]:
        """The parts of parameters of other layers that leave with the units of a layer."""
        parts = []
        for each in self._dependencies.of(layer):
            module = self._graph.modules[each.name]
            if each.reads and getattr(module, "groups", 1) > 1:
                raise ShapPruneError(f"units of layer {layer!r} are read by {each.name!r}, {kind_of(module)}")
            if each.reads or each.name != layer:
                parts += parts_of_linear(self._graph, each) if isinstance(module, LAYERS) else _of_norm(module, each)
        return parts


def pool_units(
    model: nn.Module,
    layer: str,
    example: Tensor,
    *,
    scope: Scope = "all",
    how: str = "sum",
    biases: bool = True,
    dependencies: Dependencies | None = None,
) -> Pooling:
    """Pool to the units of a layer: channels, neurons or heads.

    Args:
        model: the network.
        layer: a name of `shapprune.prunable_layers`; of a gated feed-forward block the first of its two layers.
        example: images or tokens, [N, ...], that the network can run on.
        scope: ``all`` takes every parameter that leaves with the unit (rows of all layers that put it out, and columns
            of those that read it), ``rows`` those that make the unit in this layer alone.
        how: ``sum`` or ``mean``.
        biases: whether parameters of one axis count: biases, and scales and shifts of norms.
        dependencies: of the network's units, where they are known already.

    Raises:
        ShapPruneError: another scope or way to pool, no such layer, or what leaves with its units cannot be followed.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from shapprune.parameters.units import pool_units
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> pooling = pool_units(model, "0", torch.rand(2, 4))
        >>> pooling.names
        ['0.weight', '0.bias', '2.weight']
        >>> pooling({name: torch.ones_like(each) for name, each in model.named_parameters()})  # 4 + 1 + 2 a neuron
        tensor([7., 7., 7.], dtype=torch.float64)
    """
    return Pools(model, example, dependencies).of(layer, scope=scope, how=how, biases=biases)


def head_places(model: nn.Module, example: Tensor) -> dict[str, Tensor]:
    """The head of each place of the parameters that heads have parts of, for `Blocks`; no two modules share one."""
    graph, begin = UnitGraph(model, example[:2]), 0
    first, found = first_names(model), dict[str, Tensor]()
    for layer, attention in graph.attentions.items():
        if layer != attention.name:  # single heads of those that share keys and values
            continue
        for part in head_parts(graph, layer, example[:2])[0]:
            weight = model.get_parameter(part.name)
            shape = [1] * weight.dim()
            shape[part.axis] = -1
            places = torch.empty(weight.shape[part.axis], dtype=torch.long)
            places[part.places.flatten()] = torch.arange(attention.units).repeat_interleave(part.places.shape[1])
            found[first[part.name]] = begin + places.view(shape)
        begin += attention.units
    return found


def _of_norm(module: nn.Module, dependent: Dependent) -> list[Part]:
    """The parts that units have in the parameters of a module that works on each of them by itself."""
    own = {leaf: each for leaf, each in module._parameters.items() if each is not None}
    count = dependent.places.numel()
    return [Part(dependent.name, leaf, 0, dependent.places) for leaf, each in own.items() if each.shape == (count,)]
