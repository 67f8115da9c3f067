"""Groups: the layers whose units leave together, because what is made of a unit is zero only if it is zero in all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import fx, nn

from shapprune.core.errors import ShapPruneError
from shapprune.graph.attention import QUERIES
from shapprune.graph.cut import ignore_sizes
from shapprune.graph.operations import LAYERS, Meaning, has_own_weights
from shapprune.graph.refusals import IS_OUTPUT, name_of_call, tied
from shapprune.graph.tokens import find_neurons
from shapprune.graph.unit_graph import UnitGraph

# Where the units of a layer are in a value: the index of the first, and whether all positions of a unit lie side by
# side.
Place = tuple[int, bool]


def group_of(graph: UnitGraph, name: str) -> tuple[str, ...]:
    """The layers that lose units of the same index together with a layer, this one among them, in the order they run.

    Raises:
        ShapPruneError: its units cannot be removed; the text says why.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from shapprune.graph.groups import group_of
        >>> from shapprune.graph.unit_graph import UnitGraph
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3), nn.Softmax(1), nn.Linear(3, 2))
        >>> graph = UnitGraph(model, torch.rand(1, 4))
        >>> group_of(graph, "0")
        ('0',)
        >>> group_of(graph, "2")
        Traceback (most recent call last):
          ...
        shapprune.core.errors.ShapPruneError: its units go on into '3', of which it is not known what becomes of units
    """
    group = {name}
    if graph.on_tokens(name):
        find_neurons(graph, name)
    elif name.endswith(QUERIES):
        whole = name.removesuffix(QUERIES)
        raise ShapPruneError(f"its heads share keys and values in groups, which leave whole, as units of {whole!r}")
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
    sites = {graph.site(name, "activation") for name in group}
    zero: dict[fx.Node, Place] = {}  # the values in which the unit is zero
    met: dict[fx.Node, Place] = {node: (0, False) for name in group for node in _up_to_site(graph, name)}
    found: set[str] = set()
    for node in ignore_sizes(graph.traced.graph.nodes):
        places = {zero[each] for each in node.all_input_nodes if each in zero}
        if node in sites:
            zero[node] = 0, False
        elif places:
            place = met[node] = min(places)
            meaning = graph.meaning(node)
            others = [each for each in node.all_input_nodes if each not in zero and each in graph.shapes]
            if meaning is Meaning.MIXES and _reads_units(graph, node):
                continue
            if len(places) > 1:
                raise tied(graph, node, "where they meet units of another index")
            if place[1] and meaning in (Meaning.ADD, Meaning.SCALE, Meaning.JOIN):
                raise tied(graph, node, "where they meet others with their positions side by side")
            if meaning is Meaning.ADD:
                found |= _added(graph, node, others, group)
            elif meaning is Meaning.SCALE:
                met |= {each: place for other in others for each in _gate(graph, other, node)}
                if (first := _first_factor(graph, node)) and first not in group:
                    raise ShapPruneError(f"its units are those of {first!r}, which it is multiplied with")
            zero[node] = _place_behind(graph, node, meaning, place, zero)
    _require_own_modules(graph, met)
    return found - group


def _up_to_site(graph: UnitGraph, name: str) -> list[fx.Node]:
    """The operations from a layer to the value in which its units are zeroed."""
    nodes, site = [graph.start(name)], graph.site(name, "activation")
    while nodes[-1] is not site:
        nodes += ignore_sizes(nodes[-1].users)
    return nodes


def _reads_units(graph: UnitGraph, node: fx.Node) -> bool:
    """Whether a layer has units, and not their positions, for its inputs."""
    return not isinstance(graph.modules[str(node.target)], nn.Linear) or len(graph.shapes[node.all_input_nodes[0]]) == 2


def _place_behind(
    graph: UnitGraph, node: fx.Node, meaning: Meaning, place: Place, zero: Mapping[fx.Node, Place]
) -> Place:
    """Where units are behind an operation that leaves them at zero.

    Raises:
        ShapPruneError: it does not, or removal cannot follow it.
    """
    if meaning is Meaning.OUTPUT:
        raise ShapPruneError(IS_OUTPUT)
    if meaning is Meaning.JOIN:
        parts: Sequence[fx.Node] = node.args[0] if node.args else node.kwargs["tensors"]  # type: ignore[assignment]
        (ours, *more) = [index for index, each in enumerate(parts) if each in zero]
        if more:
            raise tied(graph, node, "where they lie beside themselves")
        if any(not _is_computed(graph, each) for each in parts):
            raise tied(graph, node, "side by side with what no layer puts out")
        return place[0] + sum(graph.shapes[each][1] for each in parts[:ours]), False
    keeps = meaning in (Meaning.ADD, Meaning.SCALE, Meaning.POOLING, Meaning.ZERO, Meaning.FLATTEN)
    if not keeps and not (meaning is Meaning.DEPTHWISE and graph.modules[str(node.target)].bias is None):
        raise tied(graph, node)
    return place[0], place[1] or (meaning is Meaning.FLATTEN and _widens(graph, node))


def _widens(graph: UnitGraph, node: fx.Node) -> bool:
    """Whether there is more on the second axis than before: units of other layers, or several positions of a unit."""
    return graph.shapes[node][1] != graph.shapes[node.all_input_nodes[0]][1]


def _added(graph: UnitGraph, total: fx.Node, others: Sequence[fx.Node], group: set[str]) -> set[str]:
    """The layers of what is added to the units of a group.

    Raises:
        ShapPruneError: it comes from no layers, unit by unit, or not each unit of the sum is one of the group.
    """
    sources = {source for each in others for source in _sources(graph, each, total)}
    if others and sources <= group:
        raise tied(graph, total, "where they are added to what is not zero with them")
    if others and graph.shapes[total][1] != graph.units_of(next(iter(group))):
        raise tied(graph, total, f"where those of {', '.join(sorted(sources))} are added to others, too")
    return sources


def _sources(graph: UnitGraph, node: fx.Node, total: fx.Node) -> set[str]:
    """The layers that a term of a sum comes from, unit by unit.

    Raises:
        ShapPruneError: its units are not those of layers.
    """
    meaning = graph.meaning(node)
    if node.op == "call_module" and str(node.target) in graph.calls and meaning is not Meaning.DEPTHWISE:
        return {str(node.target)}
    if meaning is Meaning.ADD:
        return {source for each in node.all_input_nodes for source in _sources(graph, each, total)}
    by_itself = meaning in (Meaning.NORM, Meaning.ZERO, Meaning.ACTIVATION, Meaning.POOLING, Meaning.DEPTHWISE)
    if by_itself or (meaning in (Meaning.FLATTEN, Meaning.JOIN) and not _widens(graph, node)):
        return _sources(graph, node.all_input_nodes[0], total)
    if meaning is Meaning.SCALE:
        first = _first_factor(graph, node)
        largest = max(node.all_input_nodes, key=lambda each: graph.shapes[each].numel())
        return {first} if first else _sources(graph, largest, total)
    raise tied(graph, total, f"where {name_of_call(node)!r} is added, whose units are not those of one layer")


def _gate(graph: UnitGraph, gate: fx.Node, reader: fx.Node) -> list[fx.Node]:
    """The operations from layers to a gate, as in squeeze-and-excitation: a value that serves one product only.

    Raises:
        ShapPruneError: it serves more, or comes from no layer.
    """
    meaning = graph.meaning(gate)
    if ignore_sizes(gate.users) != [reader]:
        raise tied(graph, reader, f"where they are multiplied by {name_of_call(gate)!r}, which others read, too")
    if meaning is Meaning.MIXES:
        return [gate]
    if meaning not in (Meaning.ZERO, Meaning.ACTIVATION, Meaning.POOLING, Meaning.NORM, Meaning.ADD):
        raise tied(
            graph, reader, f"where they are multiplied by {name_of_call(gate)!r}, whose units are not those of a layer"
        )
    return [gate, *(node for each in gate.all_input_nodes for node in _gate(graph, each, gate))]


def _first_factor(graph: UnitGraph, product: fx.Node) -> str | None:
    """The layer that runs first of those that are multiplied and serve nothing else, as in gated linear units.

    The units of all of them are its units: what is removed of one is removed of all. None where a factor is more than
    what one layer puts out.
    """
    try:
        chains = [_gate(graph, each, product) for each in product.all_input_nodes]
    except ShapPruneError:
        return None
    sums = any(graph.meaning(node) is Meaning.ADD for chain in chains for node in chain)
    return None if sums else min((str(chain[-1].target) for chain in chains), key=graph.layers.index)


def _require_own_modules(graph: UnitGraph, met: Mapping[fx.Node, Place]) -> None:
    """Raise unless each module with a state has the units at one place in all of its calls, and weights of its own.

    Args:
        graph: of the network.
        met: the operations that the units go through or into -> where they are in it.
    """
    for node, place in met.items():
        if node.op != "call_module" or not graph.modules[str(node.target)].state_dict():
            continue
        _require_own_weights(graph, str(node.target))
        calls = [each for each in graph.traced.graph.nodes if (each.op, each.target) == (node.op, node.target)]
        if any(met.get(each) != place for each in calls):
            raise tied(graph, node, f"which is used {len(calls)} times in one pass")


def _require_own_weights(graph: UnitGraph, name: str) -> None:
    module = graph.modules[name]
    if isinstance(module, LAYERS) and not has_own_weights(module):
        raise ShapPruneError(
            f"the weights of {name!r} are computed from others in each pass, as weight_norm, spectral_norm and masks of"
            " torch.nn.utils.prune do; make them permanent first, e.g. by"
            " torch.nn.utils.parametrize.remove_parametrizations"
        )


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
