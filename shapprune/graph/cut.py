"""Cut a network in two at any value of its graph, so that the part before runs once and the part after often.

The network needs no edits (`shapprune.graph.tracing`). Other values that cross the cut, as skip connections do, are
computed with the part before.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, TypeVar

import torch
from torch import Tensor, fx

from shapprune.core.errors import ShapPruneError, first_line
from shapprune.graph.operations import name_of
from shapprune.graph.outputs import map_tensors
from shapprune.networks.modes import mode
from shapprune.networks.precision import at_precision

T = TypeVar("T")


def node_values(
    traced: fx.GraphModule, images: Tensor, describe: Callable[[object], T]
) -> tuple[dict[fx.Node, T], object]:
    """Run a graph in eval mode and float32; return what a function says of each value in it, and the outputs.

    Args:
        traced: the graph.
        images: [N, ...].
        describe: the function.

    Raises:
        ShapPruneError: the network fails on images of this shape.
    """
    found: dict[fx.Node, T] = {}

    class Recorder(fx.Interpreter):
        def run_node(self, n: fx.Node) -> object:
            result = super().run_node(n)
            found[n] = describe(result)
            return result

    with torch.no_grad(), mode(traced, training=False), at_precision("fp32", images.device):
        try:
            outputs = Recorder(traced).run(images)
        except (RuntimeError, ValueError, TypeError) as error:
            raise ShapPruneError(
                f"the network fails on images of shape {tuple(images.shape)}: {first_line(error)}"
            ) from error
    return found, map_tensors(lambda each: each, outputs)  # fx has dictionaries and lists of its own


def node_shapes(traced: fx.GraphModule, images: Tensor) -> tuple[dict[fx.Node, torch.Size], object]:
    """Run a graph on images; return the shape of every tensor in it, and the outputs; see `node_values`."""
    found, outputs = node_values(traced, images, lambda value: value.shape if isinstance(value, Tensor) else None)
    return {node: shape for node, shape in found.items() if shape is not None}, outputs


def ignore_sizes(users: Iterable[fx.Node]) -> list[fx.Node]:
    """Those users of a value that read its numbers and not only its size."""

    def only_size(node: fx.Node) -> bool:
        return name_of(node) in ("size", "dim", "sym_size", "sym_numel") or (
            node.op == "call_function"
            and node.target is getattr
            and node.args[1] in ("shape", "device", "dtype", "ndim")
        )

    return [user for user in users if not only_size(user)]


@dataclass(frozen=True)
class PerImage:
    """A number that counts something of all images, as the size of a batch does.

    Attributes:
        number: of one image.
    """

    number: int


@dataclass(frozen=True)
class Cut:
    """A network cut in two.

    Attributes:
        after: the part after: (value at the cut, other values that cross it ...) -> outputs.
        nodes: the node of the cut and those after it, in the whole graph.
        beside: the other values that cross it, in the whole graph.
    """

    after: fx.GraphModule
    nodes: list[fx.Node]
    beside: list[fx.Node]
    _make_before: Callable[[], fx.GraphModule]

    @property
    def crossing(self) -> int:
        """How many other values cross it."""
        return len(self.beside)

    @cached_property
    def before(self) -> fx.GraphModule:
        """The part before: images -> (value at the cut, other values that cross it ...)."""
        return self._make_before()


def cut_at(
    traced: fx.GraphModule, site: fx.Node, sizes: Mapping[fx.Node, object] = MappingProxyType({}), rows: int = 1
) -> Cut:
    """Cut a traced network behind a value.

    Args:
        traced: the network.
        site: the value.
        sizes: the values that count images (`shapprune.graph.company.Company.sizes`). They do not cross the cut: the
            part after counts the rows that enter it, which may be more than the images of the part before.
        rows: of the value for an image.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from shapprune.graph.cut import cut_at
        >>> from shapprune.graph.tracing import trace
        >>> model, images = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), torch.rand(5, 4)
        >>> traced = trace(model)
        >>> relu = next(node for node in traced.graph.nodes if node.target == "1")
        >>> cut = cut_at(traced, relu)
        >>> (hidden,) = cut.before(images)
        >>> torch.equal(cut.after(hidden), model(images))
        True
    """
    nodes = list(traced.graph.nodes)
    constant = constants(nodes)  # each part computes them for itself
    after = _made_of(nodes, site)
    beside = list(
        dict.fromkeys(
            each
            for node in nodes
            if node in after
            for each in node.all_input_nodes
            if each not in after and each not in constant and each is not site
        )
    )

    first = fx.Graph()
    copied: dict[fx.Node, fx.Node] = {}
    for node in nodes:
        if node not in after and node.op != "output":
            copied[node] = first.node_copy(node, copied.__getitem__)
    counted = [each for each in beside if each in sizes]
    beside = [each for each in beside if each not in sizes]
    first.output((copied[site], *(copied[each] for each in beside)))

    second = fx.Graph()
    copied = {each: second.placeholder(f"value_{i}") for i, each in enumerate([site, *beside])}
    count = second.call_method("size", (copied[site], 0)) if counted else None
    if counted and rows > 1:
        count = second.call_function(operator.floordiv, (count, rows))
    for each in counted:
        copied[each] = _count(sizes[each], second, count)
    for node in nodes:
        if node in after or node in constant:
            copied[node] = second.node_copy(node, copied.__getitem__)
    for node in reversed(second.nodes):
        if node.op == "get_attr" and not node.users:
            second.erase_node(node)
    rest = [site, *(node for node in nodes if node in after)]
    return Cut(_part(traced, second), rest, beside, lambda: _part(traced, first))


def _part(traced: fx.GraphModule, graph: fx.Graph) -> fx.GraphModule:
    """A network of some operations of another, which leaves memory as soon as nobody has it."""
    found = fx.GraphModule(traced, graph)
    found.graph.owning_module = None  # a cycle: what is prepared for a layer would stay until Python looks for cycles
    return found


def _count(size: Any, graph: fx.Graph, rows: fx.Node | None) -> Any:
    """What a size is for so many rows, in a graph."""
    if isinstance(size, PerImage):
        return graph.call_function(operator.mul, (size.number, rows))
    if isinstance(size, tuple):
        return graph.call_function(torch.Size, (tuple(_count(each, graph, rows) for each in size),))
    return size


def constants(nodes: Iterable[fx.Node]) -> set[fx.Node]:
    """The values made of parameters alone, the same for all images."""
    found = set[fx.Node]()
    for node in nodes:
        if node.op != "placeholder" and found.issuperset(node.all_input_nodes):
            found.add(node)
    return found


def _made_of(nodes: Iterable[fx.Node], site: fx.Node) -> set[fx.Node]:
    """The values made of a value."""
    after = {site}
    for node in nodes:
        if not after.isdisjoint(node.all_input_nodes):
            after.add(node)
    return after - {site}
