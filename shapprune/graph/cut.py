"""Cut a network in two at any value of its graph: what comes before runs once, what comes after runs often.

torch.fx records the graph, so the model needs no edits. Values that pass the cut beside the one it is made at
(skip connections) are computed once, with the part before.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, fx, nn

from shapprune.core.errors import ShapPruneError
from shapprune.networks.modes import mode


def trace(model: nn.Module) -> fx.GraphModule:
    """The graph of ``model`` as it runs in eval mode; its modules and parameters are shared, not copied.

    Raises:
        ShapPruneError: torch.fx cannot trace the model (with its reason), or the model takes more than one input.
    """
    name = type(model).__name__
    needed, constants = [], {}
    for key, parameter in inspect.signature(model.forward).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.default is parameter.empty:
            needed.append(key)
        else:
            constants[key] = parameter.default
    if not needed and constants:  # forward(x=None): the first input is the images all the same
        needed.append(next(iter(constants)))
        del constants[needed[0]]
    if len(needed) > 1:
        raise ShapPruneError(
            f"{name} takes {len(needed)} inputs ({', '.join(needed)}), only networks of one input can be cut"
        )
    with mode(model, training=False):
        try:
            graph = fx.Tracer().trace(model, concrete_args=constants or None)
        except Exception as error:  # fx passes on whatever the model's own code raises
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ShapPruneError(f"torch.fx cannot trace {name}: {reason}") from error
    return fx.GraphModule(model, graph, class_name=name)


def node_shapes(traced: fx.GraphModule, images: Tensor) -> tuple[dict[fx.Node, torch.Size], object]:
    """The shape of every tensor in the graph when it is run on ``images``, and the outputs.

    Raises:
        ShapPruneError: the network fails on images of this shape.
    """
    shapes: dict[fx.Node, torch.Size] = {}

    class Recorder(fx.Interpreter):
        def run_node(self, n: fx.Node) -> object:
            result = super().run_node(n)
            if isinstance(result, Tensor):
                shapes[n] = result.shape
            return result

    with torch.no_grad(), mode(traced, training=False):
        try:
            outputs = Recorder(traced).run(images)
        except (RuntimeError, ValueError, TypeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ShapPruneError(f"the network fails on images of shape {tuple(images.shape)}: {reason}") from error
    return shapes, outputs


def ignore_sizes(users: Iterable[fx.Node]) -> list[fx.Node]:
    """The users of a value that look at its numbers, not only at its size."""

    def only_size(node: fx.Node) -> bool:
        return (node.op == "call_method" and node.target in ("size", "dim")) or (
            node.op == "call_function"
            and node.target is getattr
            and node.args[1] in ("shape", "device", "dtype", "ndim")
        )

    return [user for user in users if not only_size(user)]


@dataclass(frozen=True)
class Cut:
    """A network cut in two.

    Attributes:
        after: (value at the cut, other values that cross it ...) -> outputs.
        nodes: the nodes of the whole graph at and after the cut.
        crossing: how many values cross it beside the one it is made at.
    """

    after: fx.GraphModule
    nodes: list[fx.Node]
    crossing: int
    _make_before: Callable[[], fx.GraphModule]

    @cached_property
    def before(self) -> fx.GraphModule:
        """Images -> (value at the cut, other values that cross it ...); made when it is asked for."""
        return self._make_before()


def cut_at(traced: fx.GraphModule, site: fx.Node) -> Cut:
    """Cut the traced network right after the value ``site``."""
    nodes = list(traced.graph.nodes)
    after = {site}
    constant: set[fx.Node] = set()  # parameters and what is made of them alone: each part has its own
    for node in nodes:
        inputs = node.all_input_nodes
        if node.op != "placeholder" and all(each in constant for each in inputs):
            constant.add(node)
        elif any(each in after for each in inputs):
            after.add(node)
    after.discard(site)
    crossing = list(
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
    first.output((copied[site], *(copied[each] for each in crossing)))

    second = fx.Graph()
    copied = {each: second.placeholder(f"value_{i}") for i, each in enumerate([site, *crossing])}
    for node in nodes:
        if node in after or node in constant:
            copied[node] = second.node_copy(node, copied.__getitem__)
    rest = [site, *(node for node in nodes if node in after)]
    return Cut(fx.GraphModule(traced, second), rest, len(crossing), lambda: fx.GraphModule(traced, first))
