"""Why units cannot be removed, as far as an operation behind them is the reason."""

from __future__ import annotations

import re

from torch import fx, nn

from shapprune.core.errors import ShapPruneError
from shapprune.graph.cut import ignore_sizes
from shapprune.graph.operations import Meaning, name_of
from shapprune.graph.unit_graph import UnitGraph

IS_OUTPUT = "it is the output layer"
# Functions that make queries, keys or values where no layer does.
_MAKE = ("linear", "addmm", "matmul", "bmm")


def tied(graph: UnitGraph, node: fx.Node, why: str = "", axis: int = 1) -> ShapPruneError:
    """What is said of units that go on into an operation behind which they cannot be told from others, or from zero.

    Args:
        graph: of the network.
        node: the operation.
        why: what it does to the units; by default what follows from its kind.
        axis: where the units lie in its inputs, 1 or -1.
    """
    return ShapPruneError(f"its units go on into {name_of_call(node)!r}, {why or _why(graph, node, axis)}")


def attention_behind(graph: UnitGraph, layer: str) -> str | None:
    """The module with attention whose queries, keys or values a layer makes, or None."""
    for name, attention in graph.attentions.items():
        ahead, seen = [*attention.probes], set(attention.probes)
        while ahead:
            node = ahead.pop()
            if str(node.target) == layer:
                return name
            if str(node.target) in graph.calls or name_of(node) in _MAKE:
                continue
            new = [each for each in ignore_sizes(node.all_input_nodes) if each not in seen]
            ahead += new
            seen.update(new)
    return None


def without_names(reason: str) -> str:
    """A reason without the names and numbers that are one layer's own, to count layers by reason.

    Examples:
        >>> from shapprune.graph.refusals import without_names
        >>> without_names("its units go on into 'features.3', a convolution of 2 groups")
        'its units go on into ..., a convolution of ... groups'
    """
    return re.sub(r"\d+(?:_\d+)*|'[^']*'", "...", reason)


def kind_of(module: nn.Module) -> str:
    """What a layer that reads units is, in a sentence that refuses it."""
    groups = getattr(module, "groups", 1)
    return f"a convolution of {groups} groups" if groups > 1 else f"a {type(module).__name__}"


def name_of_call(node: fx.Node) -> str:
    """The name of an operation: of its module, or in the graph."""
    return str(node.target) if node.op == "call_module" else node.name


def _why(graph: UnitGraph, node: fx.Node, axis: int) -> str:
    module = graph.modules.get(str(node.target)) if node.op == "call_module" else None
    meaning, groups = graph.meaning(node, axis), getattr(module, "groups", 1)
    if meaning is Meaning.MIXES:
        return "which mixes positions and not units"
    if meaning in (Meaning.NORM, Meaning.ACTIVATION, Meaning.DEPTHWISE):
        return "which does not leave zero at zero"
    return f"a convolution of {groups} groups" if groups != 1 else "of which it is not known what becomes of units"
