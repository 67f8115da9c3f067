"""What depends on the neurons of a linear layer on tokens, [N, ..., units], as those of feed-forward blocks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import fx

from shapprune.core.errors import ShapPruneError
from shapprune.graph.cut import ignore_sizes
from shapprune.graph.exporting import Transposed
from shapprune.graph.operations import Meaning, has_own_weights
from shapprune.graph.parts import Dependent, Part
from shapprune.graph.refusals import IS_OUTPUT, tied
from shapprune.graph.unit_graph import UnitGraph


@dataclass(frozen=True)
class Neurons:
    """Where the neurons of a linear layer on tokens are.

    Attributes:
        writers: the layers that put them out, in the order they run: the layer, and those that it is multiplied with.
        readers: the layers that read them.
    """

    writers: tuple[str, ...]
    readers: tuple[str, ...]


def find_neurons(graph: UnitGraph, name: str) -> Neurons:
    """Follow the neurons of a linear layer on tokens to where other layers mix them.

    Raises:
        ShapPruneError: a neuron does not stay zero, or meets others in a way that removal cannot follow.
    """
    zero, writers, readers = {graph.site(name, "activation")}, {name}, []
    for node in ignore_sizes(graph.traced.graph.nodes):
        inputs = [each for each in node.all_input_nodes if each in zero]
        if not inputs:
            continue
        meaning = graph.meaning(node, axis=-1)
        if meaning is Meaning.OUTPUT:
            raise ShapPruneError(IS_OUTPUT)
        if meaning is Meaning.MIXES:
            readers.append(str(node.target))
            continue
        if meaning is Meaning.SCALE:
            writers |= {_scaling(graph, each, node) for each in node.all_input_nodes if each not in zero}
        elif meaning is Meaning.ADD:
            raise ShapPruneError(f"its units are added to others in {node.name!r}, as those of a residual stream are")
        elif meaning not in (Meaning.POOLING, Meaning.ZERO):
            raise tied(graph, node, axis=-1)
        zero.add(node)
    for each in (*writers, *readers):
        if len(graph.calls.get(each, ())) != 1 or not has_own_weights(graph.modules[each]):
            raise ShapPruneError(f"its units depend on {each!r}, which runs more than once or has computed weights")
    ordered = tuple(each for each in graph.calls if each in writers)
    if ordered[0] != name:
        raise ShapPruneError(f"its units are those of {ordered[0]!r}, which it is multiplied with")
    return Neurons(ordered, tuple(readers))


def _scaling(graph: UnitGraph, node: fx.Node, product: fx.Node) -> str:
    """The layer whose neurons a product takes, each by itself, and nothing else does."""
    while ignore_sizes(node.users) == [product]:
        meaning = graph.meaning(node, axis=-1)
        if meaning is Meaning.MIXES:
            return str(node.target)
        if meaning not in (Meaning.ZERO, Meaning.ACTIVATION, Meaning.POOLING):
            break
        node, product = node.all_input_nodes[0], node
    raise ShapPruneError(f"its units are multiplied in {product.name!r} with what is no layer's own")


def neuron_dependents(graph: UnitGraph, name: str) -> list[Dependent]:
    """List the modules that depend on the neurons of a layer, the layer itself first."""
    found = find_neurons(graph, name)
    places = torch.arange(graph.units_of(name))[:, None]
    ends = [(each, False) for each in found.writers] + [(each, True) for each in found.readers]
    return [Dependent(each, reads, places) for each, reads in ends]


def parts_of_linear(graph: UnitGraph, dependent: Dependent) -> list[Part]:
    """The parts of a linear layer's parameters that units have."""
    name, module = dependent.name, graph.modules[dependent.name]
    axis = int(dependent.reads != isinstance(module, Transposed))
    parts = [Part(name, "weight", axis, dependent.places)]
    if not dependent.reads and module.bias is not None:
        parts.append(Part(name, "bias", 0, dependent.places))
    return parts
