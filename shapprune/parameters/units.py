"""Numbers of parameters, pooled: to rows of matrices, to units with all that leaves with them, to modules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from shapprune.core.errors import ShapPruneError, unknown
from shapprune.graph.dependents import Dependencies
from shapprune.graph.head_parts import head_parts
from shapprune.graph.incoming import incoming_parts
from shapprune.graph.operations import LAYERS
from shapprune.graph.parts import Dependent, Part
from shapprune.graph.tokens import parts_of_linear
from shapprune.graph.unit_graph import UnitGraph
from shapprune.parameters.choice import axis_of_rows, first_names

Scope = Literal["rows", "all"]
POOLS, SCOPES = ("sum", "mean"), ("all", "rows")


@dataclass(frozen=True)
class Pooling:
    """How numbers of parameters become one for each unit.

    Attributes:
        parts: what units have of the parameters; each has the name of a parameter's first use.
        how: ``sum`` or ``mean`` of a unit's numbers. The score of a set of players of a quadratic game is the sum.

    Raises:
        ShapPruneError: another way to pool.

    Examples:
        >>> import torch
        >>> from shapprune.graph.parts import Part
        >>> from shapprune.parameters.units import Pooling
        >>> places = torch.arange(2)[:, None]
        >>> rows, columns = Part("a", "weight", 0, places), Part("b", "weight", 1, places)
        >>> values = {"a.weight": torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "b.weight": torch.tensor([[10.0, 20.0]])}
        >>> Pooling([rows, columns])(values), Pooling([rows, columns], "mean")(values)
        (tensor([13., 27.], dtype=torch.float64), tensor([4.3333, 9.0000], dtype=torch.float64))
    """

    parts: Sequence[Part]
    how: str = "sum"

    def __post_init__(self) -> None:
        if self.how not in POOLS:
            raise unknown("pool", self.how, POOLS)

    @property
    def names(self) -> list[str]:
        """The parameters that are pooled, each once."""
        return list(dict.fromkeys(part.name for part in self.parts))

    def __call__(self, values: Mapping[str, Tensor]) -> Tensor:
        """Pool numbers of parameters, by name, to float64 [n]."""
        found = [part.of_units(values[part.name]).double() for part in self.parts]
        total = torch.stack([each.sum(1) for each in found]).sum(0)
        return total if self.how == "sum" else total / sum(each.shape[1] for each in found)


def pool_units(
    model: nn.Module, layer: str, example: Tensor, *, scope: Scope = "all", how: str = "sum", biases: bool = True
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
    if scope not in SCOPES:
        raise unknown("scope", scope, SCOPES)
    graph = UnitGraph(model, example[:2])
    parts = _own_parts(graph, layer, example[:2])
    if scope == "all":
        parts += _other_parts(model, graph, layer, example[:2])
    first = first_names(model)
    named = []
    for part in parts:
        if biases or model.get_parameter(part.name).dim() > 1:
            module, _, leaf = first[part.name].rpartition(".")
            named.append(Part(module, leaf, part.axis, part.places))
    return Pooling(named, how)


def pool_rows(values: Mapping[str, Tensor], model: nn.Module, how: str = "sum") -> dict[str, Tensor]:
    """Pool numbers of parameters to the rows of every matrix; the number of a row's bias counts with it.

    Args:
        values: of parameters, by name, each in the shape of its parameter.
        model: the network.
        how: ``sum`` or ``mean``.

    Returns:
        Name of each parameter of two or more axes among the values -> float64 [rows].

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from shapprune.parameters.units import pool_rows
        >>> layer = nn.Linear(3, 2)
        >>> pool_rows({"weight": torch.ones(2, 3), "bias": torch.tensor([1.0, 2.0])}, layer)
        {'weight': tensor([4., 5.], dtype=torch.float64)}
    """
    found = {}
    for name, value in values.items():
        if value.dim() > 1:
            parts = [part for part in row_parts(model, name) if part.name in values]
            found[name] = Pooling(parts, how)(values)
    return found


def row_parts(model: nn.Module, name: str) -> list[Part]:
    """The parts that the rows of a matrix have: in itself, and in the bias beside it if that has one for each."""
    (module, _, leaf), axis = name.rpartition("."), axis_of_rows(model, name)
    weight = model.get_parameter(name)
    places = torch.arange(weight.shape[axis])[:, None]
    parts = [Part(module, leaf, axis, places)]
    beside = leaf.replace("weight", "bias")
    bias = model.get_submodule(module)._parameters.get(beside) if beside != leaf else None
    if bias is not None and bias.shape == (len(places),):
        parts.append(Part(module, beside, 0, places))
    return parts


def pool_modules(values: Mapping[str, Tensor], modules: Iterable[str], how: str = "sum") -> dict[str, float]:
    """Pool numbers of parameters to whole modules, as layers, attentions or blocks, by their names.

    Raises:
        ShapPruneError: none of the parameters is in a module.

    Examples:
        >>> import torch
        >>> from shapprune.parameters.units import pool_modules
        >>> values = {"blocks.0.fc.weight": torch.ones(2, 2), "blocks.1.fc.weight": torch.ones(2)}
        >>> pool_modules(values, ["blocks.0", "blocks.1"])
        {'blocks.0': 4.0, 'blocks.1': 2.0}
    """
    if how not in POOLS:
        raise unknown("pool", how, POOLS)
    found = {}
    for module in modules:
        inside = [each.double() for name, each in values.items() if name.startswith(f"{module}.")]
        if not inside:
            raise ShapPruneError(f"none of the {len(values)} parameters that have scores is in a module {module!r}")
        total = sum(float(each.sum()) for each in inside)
        found[module] = total if how == "sum" else total / sum(each.numel() for each in inside)
    return found


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


def _own_parts(graph: UnitGraph, layer: str, example: Tensor) -> list[Part]:
    """The parts of all parameters that make the units of a layer, in this layer alone."""
    if layer in graph.attentions:
        return list(head_parts(graph, layer, example)[0])
    graph.require(layer)
    parts = incoming_parts(graph, layer, example)
    if getattr(graph.modules[layer], "bias", None) is not None:
        parts.append(Part(layer, "bias", 0, parts[0].places))
    return parts


def _other_parts(model: nn.Module, graph: UnitGraph, layer: str, example: Tensor) -> list[Part]:
    """The parts of parameters of other layers that leave with the units of a layer, or that are for these units."""
    if layer in graph.attentions:
        return parts_of_linear(graph, head_parts(graph, layer, example)[1])
    parts = []
    for each in Dependencies(model, example, graph).of(layer):
        module = graph.modules[each.name]
        if each.reads and getattr(module, "groups", 1) > 1:
            raise ShapPruneError(
                f"units of layer {layer!r} are read by {each.name!r}, a convolution of {module.groups} groups"
            )
        if each.reads or each.name != layer:
            parts += parts_of_linear(graph, each) if isinstance(module, LAYERS) else _parts_of_norm(module, each)
    return parts


def _parts_of_norm(module: nn.Module, dependent: Dependent) -> list[Part]:
    """The parts that units have in the parameters of a module that works on each of them by itself."""
    own = {leaf: each for leaf, each in module._parameters.items() if each is not None}
    count = dependent.places.numel()
    return [Part(dependent.name, leaf, 0, dependent.places) for leaf, each in own.items() if each.shape == (count,)]
