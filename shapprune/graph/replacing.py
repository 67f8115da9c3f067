"""Replace the modules of residual branches in place, so that nothing of them is left or computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from shapprune.core.errors import ShapPruneError, first_line
from shapprune.graph.branches import SAME, Branch, nodes_inside
from shapprune.graph.operations import name_of
from shapprune.graph.residual import ResidualPart, find_blocks
from shapprune.graph.unit_graph import UnitGraph
from shapprune.networks.modes import mode
from shapprune.networks.precision import at_precision
from shapprune.networks.stand_ins import StandIn, first_input, put_stand_in, zeros_like


def replace_branches(model: nn.Module, graph: UnitGraph, parts: Sequence[ResidualPart], example: Tensor) -> None:
    """Replace the modules of branches in a copy of a network.

    A module that does nothing without them hands on its input from now on. Of other branches the last module puts out
    zeros of the size that the branch had, the first one zeros too, and those between hand on their inputs.

    Args:
        model: the copy.
        graph: of the network.
        parts: what leaves.
        example: images, [N, ...], that the network can run on.

    Raises:
        ShapPruneError: a branch has no modules of its own, or none that something can stand in for.
    """
    branches = {branch: None for part in parts for branch in part.branches}
    idle = [block for block in find_blocks(graph) if branches.keys() >= {*block.branches}]
    gone = set[Any]().union(*(block.own for block in idle), *(branch.own for branch in branches))
    settled = {branch for block in idle for branch in block.branches}
    ways = {
        branch: _modules_of(graph, branch)
        for branch in branches
        if branch not in settled and branch.addition not in gone
    }
    outputs = _outputs(model, [*(block.name for block in idle), *chain.from_iterable(ways.values())], example)
    for block in idle:
        put_stand_in(model, block.name, StandIn(items=outputs[block.name][1]))
    for branch, (*before, last) in ways.items():
        for path in before:
            # What the first hands on is changed in place by others, so it must not be the value that the shortcut is.
            put_stand_in(model, path, StandIn(path == before[0], outputs[path][1]))
        try:
            stand_in = zeros_like(_given(model, last, example), *outputs[last])
        except ShapPruneError as error:
            raise ShapPruneError(f"branch {branch.name!r} cannot be removed: {error}") from error
        put_stand_in(model, last, stand_in)


def _modules_of(graph: UnitGraph, branch: Branch) -> list[str]:
    """The outermost modules that are part of a branch alone and have parameters, in the order they run."""
    # Values that are handed on may be written down in the wrong module, where the same was found twice.
    tensors = {node for node in graph.shapes if name_of(node) not in SAME}
    inside = {path: nodes & tensors for path, nodes in nodes_inside(graph).items()}
    own = [path for path, nodes in inside.items() if path in graph.modules and nodes and nodes <= branch.own]
    outermost = [path for path in own if path.rpartition(".")[0] not in own]
    place = {node: number for number, node in enumerate(graph.traced.graph.nodes)}
    found = [path for path in outermost if any(True for _ in graph.modules[path].parameters())]
    if not found:
        raise ShapPruneError(f"branch {branch.name!r} cannot be removed: no module is part of it alone")
    return sorted(found, key=lambda path: max(place[node] for node in inside[path]))


def _outputs(model: nn.Module, paths: Sequence[str], example: Tensor) -> dict[str, tuple[Tensor, int]]:
    """What modules put out for images; see `_first`."""
    found: dict[str, list[Any]] = {path: [] for path in paths}
    hooks = [
        model.get_submodule(path).register_forward_hook(lambda _module, _given, out, path=path: found[path].append(out))
        for path in paths
    ]
    try:
        _run(model, example)
    finally:
        for hook in hooks:
            hook.remove()
    for path, calls in found.items():
        if len(calls) != 1:
            raise ShapPruneError(
                f"module {path!r} cannot be taken out: it is called {len(calls)} times in one pass, once is needed"
            )
    return {path: _first(path, calls[0]) for path, calls in found.items()}


def _first(path: str, output: Any) -> tuple[Tensor, int]:
    """The tensor that a module puts out, and the length of the tuple it comes first in, 0 where there is none."""
    items = len(output) if isinstance(output, tuple | list) else 0
    tensor = output[0] if items else output
    if not isinstance(tensor, Tensor):
        raise ShapPruneError(f"module {path!r} cannot be taken out: it puts out a {type(tensor).__name__}, no tensor")
    return tensor, items


class _Reached(Exception):  # noqa: N818 - no error
    """A module is called."""


def _given(model: nn.Module, path: str, example: Tensor) -> Tensor:
    """What a module is given when a network runs on images."""

    def stop(_module: nn.Module, inputs: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        raise _Reached(first_input(inputs, named))

    hook = model.get_submodule(path).register_forward_pre_hook(stop, with_kwargs=True)
    try:
        _run(model, example)
    except _Reached as reached:
        return reached.args[0]
    except (RuntimeError, ValueError, TypeError) as error:
        raise ShapPruneError(
            f"module {path!r} cannot be reached without those before it: {first_line(error)}"
        ) from error
    finally:
        hook.remove()
    raise AssertionError(path)


def _run(model: nn.Module, example: Tensor) -> None:
    with torch.no_grad(), mode(model, training=False), at_precision("fp32", example.device):
        model(example.clone())
