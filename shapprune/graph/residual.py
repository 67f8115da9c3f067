"""What can be skipped in a residual network: its branches one by one, or whole blocks of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import fx, nn

from shapprune.core.errors import ShapPruneError, few, unknown
from shapprune.core.games import PARTS
from shapprune.graph.branches import SAME, Branch, find_branches, left_out, nodes_inside
from shapprune.graph.operations import name_of
from shapprune.graph.unit_graph import UnitGraph


@dataclass(frozen=True)
class ResidualPart:
    """A residual branch, or a block of branches, of a network's graph.

    Attributes:
        name: of the branch (`shapprune.graph.branches.Branch`), or the path of the module that is the block.
        branches: those that are skipped with it.
        before: what goes into it; of a branch, its shortcut.
        after: what comes out of it, with its shortcut.
        own: the operations that need not run where it is skipped.
        begin: the first of them that images go through.
    """

    name: str
    branches: tuple[Branch, ...]
    before: fx.Node
    after: fx.Node
    own: frozenset[fx.Node]
    begin: fx.Node


def find_parts(graph: UnitGraph, kind: str) -> list[ResidualPart]:
    """Find the branches or blocks of a network, in the order they begin.

    Args:
        graph: of the network.
        kind: ``branches``, or ``blocks``: the innermost modules that hand on what they are given, unchanged, where
            their branches are skipped, as the layers of a transformer do.

    Raises:
        ShapPruneError: an unknown kind, or the network has none of it.
    """
    if kind not in PARTS:
        raise unknown("kind", kind, PARTS)
    name, branches = type(graph.modules[""]).__name__, find_branches(graph)
    if not branches:
        raise ShapPruneError(f"{name} has no residual branches: no value is added to one that it was made of")
    if kind == "branches":
        return [
            ResidualPart(each.name, (each,), each.shortcut, each.addition, each.own, each.begin) for each in branches
        ]
    found = find_blocks(graph)
    if not found:
        raise ShapPruneError(
            f"{name} has no blocks: no module hands on what it is given where its branches are skipped; take the"
            f" branches one by one: {few([each.name for each in branches])}"
        )
    return found


def find_blocks(graph: UnitGraph) -> list[ResidualPart]:
    """Find the innermost modules that hand on what they are given where their branches are skipped; maybe none."""
    branches = {each.addition: each for each in find_branches(graph)}
    found: dict[str, ResidualPart] = {}
    for path, inside in nodes_inside(graph).items():
        tensors = [node for node in inside if node in graph.shapes] if inside & branches.keys() else []
        leaving = [node for node in tensors if not {*node.users} <= inside]
        ways = {node: way for node in leaving if (way := _way_through(graph, node, inside, branches))}
        for after, (before, skipped) in ways.items():
            # What else others read of it, as angles of positions, must not follow what goes in.
            if len(ways) == 1 and not any(_is_made_of(node, before) for node in leaving if node is not after):
                found[path] = ResidualPart(path, skipped, before, after, left_out(graph, skipped), skipped[0].begin)
    innermost = [path for path in found if not any(other.startswith(f"{path}.") for other in found)]
    place = {node: number for number, node in enumerate(graph.traced.graph.nodes)}
    return [found[path] for path in sorted(innermost, key=lambda path: place[found[path].begin])]


def _way_through(
    graph: UnitGraph, after: fx.Node, inside: set[fx.Node], branches: Mapping[fx.Node, Branch]
) -> tuple[fx.Node, tuple[Branch, ...]] | None:
    """Follow what comes out of a module back to what goes in, past branches; None where it changes on the way.

    Returns:
        What goes in, and the branches, in the order they run.
    """
    node, skipped, rectified = after, list[Branch](), False
    while node in inside:
        module = graph.modules[str(node.target)] if node.op == "call_module" else None
        if node in branches:
            skipped.insert(0, branches[node])
            node = branches[node].shortcut
        elif isinstance(module, nn.Identity) or (module is None and name_of(node) in SAME):
            node = node.all_input_nodes[0]
        elif _is_relu(graph, node):
            rectified, node = True, node.all_input_nodes[0]
        else:
            return None
    # What a ReLU has put out, another one leaves as it is.
    return None if rectified and not _is_relu(graph, node) else (node, tuple(skipped))


def _is_made_of(node: fx.Node, other: fx.Node) -> bool:
    """Whether a value is made of another."""
    seen, rest = {node}, [node]
    while rest:
        new = {*rest.pop().all_input_nodes} - seen
        seen |= new
        rest += new
    return other in seen


def _is_relu(graph: UnitGraph, node: fx.Node) -> bool:
    if node.op == "call_module":
        return type(graph.modules[str(node.target)]) is nn.ReLU
    return node.op.startswith("call") and name_of(node) in ("relu", "relu_")
