"""Run a network and a smaller copy of it side by side, one operation at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from shapprune.core.errors import ShapPruneError
from shapprune.graph.operations import works_in_place
from shapprune.graph.residual import ResidualPart
from shapprune.graph.tracing import trace


class Lockstep:
    """A network and a smaller copy on the same images. What does not differ is run once.

    A layer of the smaller network whose inputs differ is handed to a function before it runs, which may change its
    weights: so layers are fitted one after the other to what the smaller network really computes, in a single pass.

    Args:
        traced: the network.
        small: the smaller one, with the same operations; its modules may be changed while it runs.
        images: [N, ...].
        skipped: residual parts of the network that the smaller one skips, though its operations are the same.
        twin: the graph of the smaller one, where it has been recorded already.

    Attributes:
        large: what runs the network.
        small: what runs the smaller one.
        differs: the values, by the network's nodes, in which the two differ.

    Raises:
        ShapPruneError: the networks do not have the same operations.
    """

    def __init__(
        self,
        traced: fx.GraphModule,
        small: nn.Module,
        images: Tensor,
        skipped: Sequence[ResidualPart] = (),
        twin: fx.GraphModule | None = None,
    ):
        self._shortcut_of = {each.addition: each.shortcut for part in skipped for each in part.branches}
        self._idle = frozenset[fx.Node]().union(*(part.own for part in skipped))
        self._nodes = list(traced.graph.nodes)
        twin = trace(small, images[:2]) if twin is None else twin
        twins = list(twin.graph.nodes)
        if [node.name for node in twins] != [node.name for node in self._nodes]:
            raise ShapPruneError(f"{type(small).__name__} is not the network before without some of its units")
        self._twin_of = dict(zip(self._nodes, twins, strict=True))
        self.large, self.small = fx.Interpreter(traced), fx.Interpreter(twin)
        self.differs: set[fx.Node] = set()
        self._images = images
        self._seen: set[fx.Node] = set()
        self._waiting: set[fx.Node] = set()
        self._readers = Counter(each for node in self._nodes for each in node.all_input_nodes)

    def run(self, before: Callable[[fx.Node], None], last: fx.Node) -> None:
        """Run both up to a node.

        Args:
            before: called with each node in front of which the two differ, before it runs in the smaller one. It can
                look at the inputs (`value`) and the output of the network (`large.env`), and ask for a value that is
                not there yet (`see_ahead`).
            last: the node.
        """
        self._before = before
        for node in self._nodes[: self._nodes.index(last) + 1]:
            self.see(node)

    def see(self, node: fx.Node) -> bool:
        """Run up to a node; False if it is being waited for already."""
        if node in self._waiting:
            return False
        if node in self._seen:
            return node in self.large.env
        self._waiting.add(node)
        try:
            if not all(self.see(each) for each in node.all_input_nodes):
                return False
            differs = node in self._shortcut_of or any(each in self.differs for each in node.all_input_nodes)
            differs = differs and node not in self._idle
            if differs and works_in_place(node, self.large.submodules):
                self._separate(node.all_input_nodes[0])
            self._run_large(node)
            if differs:
                self.differs.add(node)
                self._before(node)
            self._run_small(node)
        finally:
            self._waiting.discard(node)
        self._forget(node)
        return True

    def see_ahead(self, node: fx.Node) -> bool:
        """Run up to a node that may come later; False if that is not possible.

        What changes a value in place must not run before others have read the value.
        """
        ahead = [node]
        while ahead:
            each = ahead.pop()
            if each not in self._seen:
                if works_in_place(each, self.large.submodules):
                    return False
                ahead += each.all_input_nodes
        return self.see(node)

    def value(self, node: fx.Node) -> tuple[Any, Any]:
        """What a node is in the network and in the smaller one."""
        return self.large.env[node], self.small.env[self._twin_of[node]]

    def _separate(self, node: fx.Node) -> None:
        """Give the smaller network a value of its own."""
        twin = self._twin_of[node]
        if self.small.env[twin] is self.large.env[node] and isinstance(self.large.env[node], Tensor):
            self.small.env[twin] = self.large.env[node].clone()

    def _run_large(self, node: fx.Node) -> None:
        if node.op == "placeholder":
            self.large.env[node] = node.args[0] if node.args else self._images.clone()
        else:
            self.large.env[node] = self.large.run_node(node)

    def _run_small(self, node: fx.Node) -> None:
        twin = self._twin_of[node]
        if node in self._shortcut_of and node not in self._idle:
            self.small.env[twin] = self.small.env[self._twin_of[self._shortcut_of[node]]].clone()
            return
        if node not in self.differs and node.op != "placeholder" and self._is_changed(node, twin):
            self.differs.add(node)
        same = node not in self.differs
        self.small.env[twin] = self.large.env[node] if same else self.small.run_node(twin)

    def _forget(self, node: fx.Node) -> None:
        """Forget the inputs of a node that nothing else needs."""
        self._seen.add(node)
        for each in node.all_input_nodes:
            self._readers[each] -= 1
            if not self._readers[each]:
                del self.large.env[each], self.small.env[self._twin_of[each]]

    def _is_changed(self, node: fx.Node, twin: fx.Node) -> bool:
        """Whether an operation itself is another in the smaller network."""
        if node.op == "call_module":
            target = str(node.target)
            one, other = (runner.submodules[target].state_dict() for runner in (self.large, self.small))
            return one.keys() != other.keys() or any(not _equal(one[name], other[name]) for name in one)
        if node.op == "get_attr":
            return not _equal(self.large.env[node], self.small.run_node(twin))
        return str(node.args) != str(twin.args) or str(node.kwargs) != str(twin.kwargs)


def _equal(one: object, other: object) -> bool:
    return torch.equal(one, other) if isinstance(one, Tensor) and isinstance(other, Tensor) else one is other
