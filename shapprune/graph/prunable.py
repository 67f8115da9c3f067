"""Prunable layers: which units a network has, and which of them can be removed alone or together with others."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, fx, nn

from shapprune.graph.cut import ignore_sizes
from shapprune.graph.unit_graph import UnitGraph

_IS_OUTPUT = "it is the output layer"


@dataclass(frozen=True)
class PrunableLayer:
    """A layer and its units.

    Attributes:
        name: the module's name in the model.
        units: how many channels or neurons it puts out.
        kind: ``"conv"`` or ``"linear"``.
        site: the operation after which a unit is zeroed so that zeroing it equals removing it.
        group: the layers whose units of the same index must leave with its own, itself among them, in the order they
            run: those that are added up in a residual stream. Empty where its units cannot be removed at all.
        coupled: why its units cannot be removed alone, or None.
    """

    name: str
    units: int
    kind: str
    site: str
    group: tuple[str, ...]
    coupled: str | None = None


def prunable_layers(model: nn.Module, example: Tensor, coupled: bool = False) -> list[PrunableLayer]:
    """The layers of ``model`` whose units can be removed, in the order they run; the output layer is not among them.

    Args:
        model: any network of one input that torch.fx can trace.
        example: images, [N, ...], that the network can run on.
        coupled: list also the layers whose units are tied to those of others, e.g. by a residual sum. They can be
            scored, and removed together with their group if they have one.

    Raises:
        ShapPruneError: the network cannot be traced, or fails on ``example``.
    """
    graph = UnitGraph(model, example)
    layers = [describe_layer(graph, name) for name in graph.calls if not graph.is_depthwise(name)]
    return [each for each in layers if each.coupled is None or (coupled and each.coupled != _IS_OUTPUT)]


def describe_layer(graph: UnitGraph, name: str) -> PrunableLayer:
    """A layer of a traced network.

    Raises:
        ShapPruneError: there is no such layer, it is used more than once, or its output is no [N, units, ...].
    """
    kind = "linear" if isinstance(graph.modules[name], nn.Linear) else "conv"
    site = str(graph.site(name, "activation").target)
    group, coupled = _group(graph, name)
    return PrunableLayer(name, graph.units_of(name), kind, site, group, coupled)


class _TiedError(Exception):
    """Units cannot be removed; its text says why."""


def _group(graph: UnitGraph, name: str) -> tuple[tuple[str, ...], str | None]:
    """The layers whose units leave together with those of one, and why it cannot lose units alone."""
    group = {name}
    try:
        while others := _sources_of_sums(graph, group):
            group |= others
    except _TiedError as error:
        return (), str(error)
    layers = tuple(each for each in graph.calls if each in group)
    if len(layers) == 1:
        return layers, None
    rest = ", ".join(each for each in layers if each != name)
    return layers, f"its units leave together with those of {rest}"


def _sources_of_sums(graph: UnitGraph, group: set[str]) -> set[str]:
    """The layers that are added to those of a group and are not in it.

    Follows a unit that is zero at the sites of all of them: all that becomes of it must be zero until layers mix it
    with other units.

    Raises:
        _TiedError: it does not stay zero, or meets others in a way that removal cannot follow.
    """
    for name in group:
        if getattr(graph.modules[name], "groups", 1) > 1:
            raise _TiedError(f"it is a convolution of {graph.modules[name].groups} groups")
    sites = {graph.site(name, "activation") for name in group}
    zero: dict[fx.Node, int] = {}  # values in which the unit is zero, and the place of the first unit in them
    flat: set[fx.Node] = set()
    found: set[str] = set()
    for node in ignore_sizes(graph.traced.graph.nodes):
        inputs = [each for each in node.all_input_nodes if each in zero]
        if node in sites:
            zero[node] = 0
        if node in sites or not inputs:
            continue
        what = graph.meaning(node)
        others = [each for each in node.all_input_nodes if each not in zero and each in graph.shapes]
        flattened = any(each in flat for each in inputs)
        if what == "output":
            raise _TiedError(_IS_OUTPUT)
        if what == "mixes":
            if isinstance(graph.modules[str(node.target)], nn.Linear) and len(graph.shapes[inputs[0]]) != 2:
                raise _tied(node)
            continue
        if what == "add" and not flattened and len({zero[each] for each in inputs}) == 1:
            sources = {source for other in others for source in _sources(graph, other)}
            if others and sources <= group:  # they are zero at their sites, but not here
                raise _tied(node)
            found |= sources
        elif what == "scale" and not flattened:
            if not all(_only_scales(graph, other, node) for other in others):
                raise _tied(node)
        elif what == "join" and not flattened and len(inputs) == 1:
            before = node.all_input_nodes[: node.all_input_nodes.index(inputs[0])]
            zero[node] = zero[inputs[0]] + sum(graph.shapes[each][1] for each in before)
            continue
        elif what not in ("pass", "zero", "flatten"):
            raise _tied(node)
        if what == "flatten" or flattened:
            flat.add(node)
        zero[node] = zero[inputs[0]]
    return found - group


def _sources(graph: UnitGraph, node: fx.Node) -> set[str]:
    """The layers whose units a value is made of, unit by unit.

    Raises:
        _TiedError: it is made otherwise.
    """
    what = graph.meaning(node)
    if node.op == "call_module" and str(node.target) in graph.calls and what != "depthwise":
        return {str(node.target)}
    if what == "add":
        return {source for each in node.all_input_nodes for source in _sources(graph, each)}
    if what in ("norm", "zero", "activation", "pass", "depthwise"):
        return _sources(graph, node.all_input_nodes[0])
    if what == "scale":
        return _sources(graph, max(node.all_input_nodes, key=lambda each: graph.shapes[each].numel()))
    raise _tied(node)


def _only_scales(graph: UnitGraph, gate: fx.Node, product: fx.Node) -> bool:
    """Whether a value is made by a layer for the sake of one product, as in squeeze-and-excitation."""
    while ignore_sizes(gate.users) == [product]:
        what = graph.meaning(gate)
        if what == "mixes":
            return True
        if what not in ("zero", "activation", "pass", "norm"):
            return False
        (gate, product) = gate.all_input_nodes[0], gate
    return False


def _tied(node: fx.Node) -> _TiedError:
    return _TiedError(f"its units go on into {node.name!r}, together with others or past their zero")
