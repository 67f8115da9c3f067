"""Runs of a network, or of a stretch of it, in which residual parts are skipped."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from shapprune.graph.cut import constants
from shapprune.graph.outputs import map_tensors
from shapprune.graph.residual import ResidualPart
from shapprune.graph.unit_graph import UnitGraph
from shapprune.networks.modes import mode
from shapprune.networks.precision import at_precision

Values = dict[fx.Node, Any]


class Skipping:
    """A network some of whose parts can be skipped: their operations do not run, their additions hand on the shortcut.

    Args:
        graph: of the network.
        parts: those that can be skipped.

    Attributes:
        nodes: the operations, those first that images do not go through.
        images: the value that takes the images.
        output: the node whose value is what the network returns.
    """

    def __init__(self, graph: UnitGraph, parts: Sequence[ResidualPart]):
        self._parts, self._traced, self._interpreter = parts, graph.traced, fx.Interpreter(graph.traced)
        self.images = next(node for node in graph.traced.graph.nodes if node.op == "placeholder")
        self.nodes = nodes = _constants_first(graph.traced.graph.nodes)
        self.output = nodes[-1]
        self._player = {branch.addition: player for player, part in enumerate(parts) for branch in part.branches}
        self._branch = {branch.addition: branch for part in parts for branch in part.branches}
        # The last operation that reads a value -> the value, which is not kept longer.
        self._last: dict[fx.Node, list[fx.Node]] = defaultdict(list)
        place = {node: number for number, node in enumerate(nodes)}
        for node in nodes:
            if node.users:
                self._last[max(node.users, key=place.__getitem__)].append(node)

    def whole(self, images: Tensor, skipped: Iterable[int] = ()) -> Any:
        """What the network returns for images, in eval mode and float32, where parts are skipped, given by places."""
        with torch.no_grad(), mode(self._traced, training=False), at_precision("fp32", images.device):
            return self.run(self.nodes, {self.images: images.clone()}, skipped)[self.output]

    def run(
        self,
        nodes: Sequence[fx.Node],
        values: Values,
        skipped: Iterable[int],
        gates: Tensor | None = None,
        watch: Callable[[fx.Node, Any], None] = lambda node, value: None,
    ) -> Values:
        """Run a stretch of the network.

        Args:
            nodes: the operations, in their order.
            values: what they need from before.
            skipped: places of the parts that are skipped.
            gates: what multiplies the branches of each part, [rows, n]; 1 changes nothing.
            watch: called with each operation and its value.

        Returns:
            The values that later operations need, and that of the output.
        """
        gone = set(skipped)
        idle = frozenset[fx.Node]().union(*(self._parts[part].own for part in gone))
        self._interpreter.env = values = dict(values)
        for node in nodes:
            if node in idle or (node.op == "placeholder" and node in values):
                continue
            if node.op == "placeholder":
                values[node] = node.args[0] if node.args else None
            elif self._player.get(node) in gone:
                values[node] = values[self._branch[node].shortcut].clone()  # what follows may work in place
            elif gates is not None and node in self._player:
                values[node] = self._gated(node, values, gates[:, self._player[node]])
            else:
                values[node] = self._interpreter.run_node(node)
            watch(node, values[node])
            for each in self._last[node]:
                values.pop(each, None)
        if self.output in values:
            values[self.output] = map_tensors(lambda each: each, values[self.output])  # fx has lists of its own
        return values

    def _gated(self, node: fx.Node, values: Values, gate: Tensor) -> Any:
        """An addition whose branch is multiplied by a gate for each row."""
        branch = self._branch[node]
        whole = values[branch.value]
        gate = gate.repeat_interleave(len(whole) // len(gate)).to(whole.dtype)
        values[branch.value] = whole * gate.reshape(-1, *[1] * (whole.dim() - 1))
        try:
            return self._interpreter.run_node(node)
        finally:
            values[branch.value] = whole


def _constants_first(nodes: Iterable[fx.Node]) -> list[fx.Node]:
    nodes = list(nodes)
    found = constants(nodes)
    return sorted(nodes, key=lambda node: (node.op == "output", node not in found))
