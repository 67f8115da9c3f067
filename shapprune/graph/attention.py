"""Attention in the graph of a network: where the outputs of its heads are, and which heads are units."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import fx

from shapprune.graph.exporting import scope_of
from shapprune.graph.layout import Layout
from shapprune.graph.operations import name_of

# Operations behind which keys are those of fewer heads, each used by several.
_SPREAD = (
    *("reshape", "view", "expand", "unsqueeze", "repeat_interleave"),
    *("contiguous", "clone", "slice", "getitem", "to"),
)
QUERIES = ":queries"
_PASSES = ("dropout", "to", "type_as", "contiguous")


@dataclass(frozen=True)
class Attention:
    """The attention of a module.

    Attributes:
        name: of the module.
        node: the outputs of its heads, [rows, heads, tokens, numbers], before they are joined.
        probes: what is made of weights for each head by itself: queries, keys, values and biases, or scores and values;
            each with heads, or groups of them, on axis 1.
        heads: how many there are.
        units: how many of them can leave by themselves: heads, or groups that share keys and values.
    """

    name: str
    node: fx.Node
    probes: tuple[fx.Node, ...]
    heads: int
    units: int

    def layout(self, rows: int) -> Layout:
        """Where the units lie in `node`, with so many rows an image."""
        return Layout(1, self.heads // self.units, rows)


def find_attentions(nodes: Iterable[fx.Node], shapes: Mapping[fx.Node, torch.Size]) -> dict[str, Attention]:
    """Find the attention of each module that has one, by its name.

    Where queries share keys and values in groups, the units of a module ``name`` are these groups; single heads, which
    can be valued but not leave, are the units of ``name:queries``.

    Args:
        nodes: of the network's graph.
        shapes: of its values.
    """
    found: dict[str, list[Attention]] = {}
    for node in nodes:
        name = scope_of(node)
        attention = _fused(name, node, shapes) or _in_steps(name, node, shapes)
        if attention is not None and name:
            found.setdefault(name, []).append(attention)
    named = {name: each[0] for name, each in found.items() if len(each) == 1}  # of two, a name would not say which
    grouped = [each for each in named.values() if each.units < each.heads]
    return named | {f"{each.name}{QUERIES}": replace(each, units=each.heads) for each in grouped}


def _fused(name: str, node: fx.Node, shapes: Mapping[fx.Node, torch.Size]) -> Attention | None:
    if node.op != "call_function" or name_of(node) != "scaled_dot_product_attention" or len(shapes[node]) != 4:
        return None
    probes = [each for each in node.all_input_nodes if each in shapes and len(shapes[each]) == 4]
    return _of_heads(name, node, tuple(probes), shapes)


def _in_steps(name: str, node: fx.Node, shapes: Mapping[fx.Node, torch.Size]) -> Attention | None:
    """Attention as a product of a softmax with values."""
    if name_of(node) != "matmul" or len(shapes.get(node, ())) != 4:
        return None
    weights, values = node.all_input_nodes
    while name_of(weights) in _PASSES or (weights.op == "call_module" and name_of(weights).endswith("dropout")):
        weights = weights.all_input_nodes[0]
    if name_of(weights) not in ("softmax", "_softmax"):
        return None
    return _of_heads(name, node, (weights.all_input_nodes[0], values), shapes)


def _of_heads(
    name: str, node: fx.Node, probes: tuple[fx.Node, ...], shapes: Mapping[fx.Node, torch.Size]
) -> Attention | None:
    heads = shapes[node][1]
    units = min(_before_spreading(each, shapes) for each in probes if shapes[each][1] > 1) if heads > 1 else 1
    return Attention(name, node, probes, heads, units if heads % units == 0 else heads)


def _before_spreading(node: fx.Node, shapes: Mapping[fx.Node, torch.Size]) -> int:
    """How many heads a value has before some are used by several."""
    heads = shapes[node][1]
    ahead = node
    while ahead.op in ("call_function", "call_method") and name_of(ahead) in _SPREAD:
        ahead = ahead.all_input_nodes[0]
        shape = shapes.get(ahead)
        if shape is None:
            return heads
        if len(shape) == 4 and shape[2:] == shapes[node][2:] and heads % shape[1] == 0 and shape[1] < heads:
            return shape[1]
    return heads
