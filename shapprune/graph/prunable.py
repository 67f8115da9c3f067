"""Prunable layers: the layers whose units can be removed, alone or together with those of other layers."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor, nn

from shapprune.core.errors import ShapPruneError
from shapprune.graph.groups import group_of
from shapprune.graph.operations import name_of
from shapprune.graph.refusals import IS_OUTPUT, attention_behind
from shapprune.graph.removing import find_refused
from shapprune.graph.unit_graph import UnitGraph

# What the units of each kind of layer are.
UNITS = {"conv": "channels", "linear": "neurons", "heads": "heads"}


@dataclass(frozen=True)
class PrunableLayer:
    """A layer and its units.

    Attributes:
        name: the module's name in the network.
        units: how many units, channels, neurons or heads, it has.
        kind: ``"conv"``, ``"linear"`` or ``"heads"``.
        site: the operation behind which a unit is zeroed, so that zeroing it equals removing it; None if the layer
            cannot be scored, as one that is used twice.
        group: the layers that lose units of the same index together, this one among them, in the order they run: those
            that are added up in a residual stream. Empty if its units cannot be removed at all.
        coupled: why its units cannot be removed alone, or None.
    """

    name: str
    units: int
    kind: str
    site: str | None
    group: tuple[str, ...]
    coupled: str | None = None


def prunable_layers(model: nn.Module, example: Tensor, coupled: bool = False) -> list[PrunableLayer]:
    """The layers of a network whose units can be removed, in the order they run. The output layer is never among them.

    Some units of each are removed from a copy on trial, and the outputs are compared with those of the masked network.

    Args:
        model: any network of one input that torch.fx or torch.export can follow.
        example: images, [N, ...], that the network can run on.
        coupled: include the layers whose units cannot be removed alone, with the reason. Those tied to others, e.g. by
            a residual sum, are removed together with their group; those without a group cannot be removed at all,
            and those without a site cannot be scored either.

    Raises:
        ShapPruneError: the network cannot be traced, or fails on ``example``.

    Examples:
        >>> import torch, shapprune
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> [(layer.name, layer.units, layer.kind) for layer in shapprune.prunable_layers(model, torch.rand(1, 4))]
        [('0', 3, 'linear')]
    """
    return layers_of(UnitGraph(model, example), example, coupled)


def layers_of(graph: UnitGraph, example: Tensor, coupled: bool = False) -> list[PrunableLayer]:
    """The same of a network that has been traced; arguments are as for `prunable_layers`."""
    model = graph.modules[""]
    layers = [describe_layer(graph, name) for name in graph.layers if not graph.is_depthwise(name)]
    groups = list(dict.fromkeys(each.group for each in layers if each.group))
    refused = find_refused(model, graph, groups, example[:2])
    layers = [
        replace(each, group=(), coupled=refused[each.group]) if each.group in refused else each for each in layers
    ]
    return [each for each in layers if each.coupled is None or (coupled and each.coupled != IS_OUTPUT)]


def describe_layer(graph: UnitGraph, name: str) -> PrunableLayer:
    """Describe a layer of a traced network, by its graph alone."""
    kind = "heads" if name in graph.attentions else "linear" if isinstance(graph.modules[name], nn.Linear) else "conv"
    site: str | None = None
    group: tuple[str, ...] = ()
    coupled: str | None = None
    try:
        site = name_of(graph.site(name, "activation"))
        group = group_of(graph, name)
        rest = ", ".join(each for each in group if each != name)
        coupled = f"its units leave together with those of {rest}" if rest else None
    except ShapPruneError as error:
        attention = attention_behind(graph, name)
        makes = f"it makes queries, keys or values of {attention!r}, whose units are its heads"
        coupled = str(error) if attention is None else makes
    return PrunableLayer(name, graph.units_of(name), kind, site, group, coupled)
