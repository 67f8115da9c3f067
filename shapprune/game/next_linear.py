"""The layer that reads the units of another: where coalitions enter as sums."""

from __future__ import annotations

from typing import NamedTuple

from torch import fx, nn

from shapprune.graph.cut import ignore_sizes
from shapprune.graph.operations import Meaning, is_plain_norm
from shapprune.graph.unit_graph import UnitGraph


class NextLinear(NamedTuple):
    """The only layer that reads a layer's units.

    Attributes:
        module: the layer, a convolution or a linear one.
        norm: the BatchNorm that directly follows it, or None.
        node: the value behind both.
    """

    module: nn.Conv2d | nn.Linear
    norm: nn.modules.batchnorm._BatchNorm | None
    node: fx.Node


def next_linear(graph: UnitGraph, gate: fx.Node) -> NextLinear | None:
    """The next layer, if it alone reads the units and its output is a sum of one contribution a unit, else None.

    Args:
        graph: of the network.
        gate: the value that gates are applied to, behind all pooling (`UnitGraph.past_pooling`).

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from shapprune.game.next_linear import next_linear
        >>> from shapprune.graph.unit_graph import UnitGraph
        >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 2))
        >>> graph = UnitGraph(model, torch.rand(1, 1, 8, 8))
        >>> next_linear(graph, graph.past_pooling(graph.site("0", "activation"))).module is model[4]
        True
    """
    node, flattened = gate, False
    while len(users := ignore_sizes(node.users)) == 1:
        (node,) = users
        meaning = graph.meaning(node)
        if meaning is Meaning.MIXES:
            break
        if meaning not in (Meaning.POOLING, Meaning.FLATTEN):
            return None
        flattened = flattened or meaning is Meaning.FLATTEN
    else:
        return None
    module = graph.modules[str(node.target)]
    if isinstance(module, nn.Conv2d):
        if module.padding_mode != "zeros" or isinstance(module.padding, str):
            return None
    elif not isinstance(module, nn.Linear) or (len(graph.shapes[gate]) > 2 and not flattened):
        return None
    users = ignore_sizes(node.users)
    if len(users) == 1 and graph.meaning(users[0]) is Meaning.NORM and users[0].op == "call_module":
        norm = graph.modules[str(users[0].target)]
        if is_plain_norm(norm) and norm.running_var is not None:
            return NextLinear(module, norm, users[0])
    return NextLinear(module, None, node)
