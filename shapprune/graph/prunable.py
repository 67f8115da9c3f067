"""Prunable layers: the layers whose units can be removed, alone or together with those of other layers."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor, fx, nn

from shapprune.core.errors import ShapPruneError
from shapprune.graph.cut import ignore_sizes
from shapprune.graph.operations import Meaning, has_own_weights
from shapprune.graph.removing import find_refused
from shapprune.graph.tokens import find_neurons
from shapprune.graph.unit_graph import UnitGraph

_IS_OUTPUT = "it is the output layer"


@dataclass(frozen=True)
class PrunableLayer:
    """A layer and its units.

    Attributes:
        name: the module's name in the network.
        units: how many units, channels or neurons, it has.
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
        model: any network of one input that torch.fx can trace.
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
    graph = UnitGraph(model, example)
    layers = [describe_layer(graph, name) for name in graph.layers if not graph.is_depthwise(name)]
    groups = list(dict.fromkeys(each.group for each in layers if each.group))
    refused = find_refused(model, graph, groups, example[:2])
    layers = [
        replace(each, group=(), coupled=refused[each.group]) if each.group in refused else each for each in layers
    ]
    return [each for each in layers if each.coupled is None or (coupled and each.coupled != _IS_OUTPUT)]


def describe_layer(graph: UnitGraph, name: str) -> PrunableLayer:
    """Describe a layer of a traced network, by its graph alone."""
    kind = "heads" if name in graph.attentions else "linear" if isinstance(graph.modules[name], nn.Linear) else "conv"
    site: str | None = None
    group: tuple[str, ...] = ()
    coupled: str | None = None
    try:
        site = str(graph.site(name, "activation").target)
        group = _group(graph, name)
        rest = ", ".join(each for each in group if each != name)
        coupled = f"its units leave together with those of {rest}" if rest else None
    except ShapPruneError as error:
        coupled = str(error)
    return PrunableLayer(name, graph.units_of(name), kind, site, group, coupled)


def _group(graph: UnitGraph, name: str) -> tuple[str, ...]:
    """The group of a layer; see `PrunableLayer`.

    Raises:
        ShapPruneError: its units cannot be removed; the text says why.
    """
    group = {name}
    if graph.on_tokens(name):
        find_neurons(graph, name)
    elif name not in graph.attentions:
        while others := _sources_of_sums(graph, group):
            group |= others
    if graph.units_of(name) == 1:
        raise ShapPruneError("it has one unit only")
    return tuple(each for each in graph.layers if each in group)


def _sources_of_sums(graph: UnitGraph, group: set[str]) -> set[str]:
    """The layers outside a group that are added to its layers.

    Follow a unit that is zero at the sites of the whole group: every value made of it must be zero until a layer mixes
    it with other units.

    Raises:
        ShapPruneError: the unit does not stay zero, or meets other units in a way that removal cannot follow.
    """
    for name in group:
        if getattr(graph.modules[name], "groups", 1) > 1:
            raise ShapPruneError(f"it is a convolution of {graph.modules[name].groups} groups")
        _require_own_weights(graph, name)
    sites = {graph.site(name, "activation") for name in group}
    zero: dict[fx.Node, int] = {}  # value in which the unit is zero -> index of the layer's first unit in it
    flat: set[fx.Node] = set()  # those of them with all positions of a unit side by side
    found: set[str] = set()
    for node in ignore_sizes(graph.traced.graph.nodes):
        inputs = [each for each in node.all_input_nodes if each in zero]
        if node in sites:
            zero[node] = 0
        if node in sites or not inputs:
            continue
        meaning = graph.meaning(node)
        if meaning in (Meaning.MIXES, Meaning.DEPTHWISE):
            _require_own_weights(graph, str(node.target))
        others = [each for each in node.all_input_nodes if each not in zero and each in graph.shapes]
        flattened = any(each in flat for each in inputs)
        if meaning is Meaning.OUTPUT:
            raise ShapPruneError(_IS_OUTPUT)
        if meaning is Meaning.MIXES:
            if isinstance(graph.modules[str(node.target)], nn.Linear) and len(graph.shapes[inputs[0]]) != 2:
                raise _tied(node)
            continue
        if meaning is Meaning.ADD and not flattened and len({zero[each] for each in inputs}) == 1:
            sources = {source for other in others for source in _sources(graph, other)}
            if others and sources <= group:  # they are zero at their sites, but not here
                raise _tied(node)
            found |= sources
        elif meaning is Meaning.SCALE and not flattened:
            if not all(_only_scales(graph, other, node) for other in others):
                raise _tied(node)
        elif meaning is Meaning.JOIN and not flattened and len(inputs) == 1:
            if any(not _is_computed(graph, each) for each in others):
                raise ShapPruneError(f"its units go on into {node.name!r}, side by side with what no layer puts out")
            before = node.all_input_nodes[: node.all_input_nodes.index(inputs[0])]
            zero[node] = zero[inputs[0]] + sum(graph.shapes[each][1] for each in before)
            continue
        elif meaning not in (Meaning.POOLING, Meaning.ZERO, Meaning.FLATTEN):
            raise _tied(node)
        if meaning is Meaning.FLATTEN or flattened:
            flat.add(node)
        zero[node] = zero[inputs[0]]
    return found - group


def _require_own_weights(graph: UnitGraph, name: str) -> None:
    if not has_own_weights(graph.modules[name]):
        raise ShapPruneError(
            f"the weights of {name!r} are computed from others in each pass, as weight_norm, spectral_norm and masks of"
            " torch.nn.utils.prune do; make them permanent first, e.g. by"
            " torch.nn.utils.parametrize.remove_parametrizations"
        )


def _sources(graph: UnitGraph, node: fx.Node) -> set[str]:
    """The layers that a value comes from, unit by unit.

    Raises:
        ShapPruneError: its units are not those of layers.
    """
    meaning = graph.meaning(node)
    if node.op == "call_module" and str(node.target) in graph.calls and meaning is not Meaning.DEPTHWISE:
        return {str(node.target)}
    if meaning is Meaning.ADD:
        return {source for each in node.all_input_nodes for source in _sources(graph, each)}
    if meaning in (Meaning.NORM, Meaning.ZERO, Meaning.ACTIVATION, Meaning.POOLING, Meaning.DEPTHWISE):
        return _sources(graph, node.all_input_nodes[0])
    if meaning is Meaning.SCALE:
        return _sources(graph, max(node.all_input_nodes, key=lambda each: graph.shapes[each].numel()))
    raise _tied(node)


def _is_computed(graph: UnitGraph, node: fx.Node) -> bool:
    """Whether parameters have a say in a value; Torch-Pruning knows the channels of no other, as of the images."""
    ahead, seen = [node], {node}
    while ahead:
        each = ahead.pop()
        module = graph.modules[str(each.target)] if each.op == "call_module" else None
        if each.op == "get_attr" or (module is not None and any(True for _ in module.parameters())):
            return True
        new = [other for other in each.all_input_nodes if other not in seen]
        ahead += new
        seen.update(new)
    return False


def _only_scales(graph: UnitGraph, gate: fx.Node, product: fx.Node) -> bool:
    """Whether a value serves one product only and comes from a layer, as in squeeze-and-excitation."""
    while ignore_sizes(gate.users) == [product]:
        meaning = graph.meaning(gate)
        if meaning is Meaning.MIXES:
            return True
        if meaning not in (Meaning.ZERO, Meaning.ACTIVATION, Meaning.POOLING, Meaning.NORM):
            return False
        (gate, product) = gate.all_input_nodes[0], gate
    return False


def _tied(node: fx.Node) -> ShapPruneError:
    return ShapPruneError(f"its units go on into {node.name!r}, together with others or past their zero")
