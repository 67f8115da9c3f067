"""Record the graph of a network: by torch.fx, or by torch.export where torch.fx cannot follow its code."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn

from shapprune.core.errors import ShapPruneError, first_line
from shapprune.graph.cut import node_shapes
from shapprune.graph.exporting import Transposed, export, recorded_layers
from shapprune.graph.operations import is_norm_act, keeps_forward, leave_out_unused, name_of
from shapprune.networks.fewer_heads import can_have_fewer, in_steps
from shapprune.networks.modes import mode
from shapprune.networks.window_attention import is_windowed

# Kinds of networks that hide their operations -> where the network itself is.
_COMPILED = {
    "ScriptModule": "from which torch.jit made it",
    "OptimizedModule": "from which torch.compile made it, its _orig_mod",
    "DataParallel": "inside it, its module",
    "DistributedDataParallel": "inside it, its module",
}


def trace(model: nn.Module, images: Tensor | None = None, training: bool = False) -> fx.GraphModule:
    """Record the graph of a network as it runs in eval mode. Modules and parameters are shared, not copied.

    torch.fx records it. Where it cannot, or where it sees attention as one operation, torch.export does.

    Args:
        model: a network of one input; further arguments have their defaults.
        images: what it takes, [N, ...]; without them torch.export is not tried, and a `squeeze` of all axes stays one.
        training: take the turns of training mode, as to heads that are used in training only.

    Raises:
        ShapPruneError: neither can follow the network (with the reasons), or it takes more than one input.
    """
    name = type(model).__name__
    for kind, cure in _COMPILED.items():
        if any(each.__name__ == kind for each in type(model).__mro__):
            raise ShapPruneError(f"torch.fx cannot trace {name}; give the network {cure}")
    constants = _check_inputs(model)
    with mode(model, training), attributes_kept(model):
        found: fx.GraphModule | ShapPruneError
        try:
            found = _symbolic(model, constants)
        except ShapPruneError as error:
            found = error
        if images is not None and not training and _is_closed(found):
            try:
                found = export(model, images)
            except ShapPruneError as error:
                found = ShapPruneError(f"{found}; {error}") if isinstance(found, ShapPruneError) else found
    if isinstance(found, ShapPruneError):
        raise found
    if images is not None:
        _name_squeezed_axes(found, images)
    return found


def bind(traced: fx.GraphModule, model: nn.Module) -> fx.GraphModule:
    """The graph of a network on the modules and parameters of a copy of it, or of one whose layers are as wide."""
    root = {}
    for node in traced.graph.nodes:
        if node.op in ("call_module", "get_attr"):
            name = str(node.target)
            owner, _, leaf = name.rpartition(".")
            try:
                root[name] = getattr(model.get_submodule(owner), leaf)
            except AttributeError:  # a constant of the code, which torch.export has found
                root[name] = getattr(traced.get_submodule(owner), leaf)
    return fx.GraphModule(root, copy.deepcopy(traced.graph), class_name=type(model).__name__)


def record_again(traced: fx.GraphModule, model: nn.Module) -> fx.GraphModule:
    """The graph of a network that has the layers of another, by the graph of that one.

    Args:
        traced: that graph.
        model: a copy of the network that it is of, or another one of the same code with layers as wide.
    """
    found = bind(traced, model)
    for name in recorded_layers(traced):
        owner, _, leaf = name.rpartition(".")
        setattr(found.get_submodule(owner), leaf, Transposed(model.get_submodule(name)))
    return found


def _is_closed(found: fx.GraphModule | ShapPruneError) -> bool:
    """Whether torch.fx sees nothing, or attention as one operation: a module, or a function of weights."""
    if isinstance(found, ShapPruneError):
        return True
    return any(isinstance(module, nn.MultiheadAttention) for module in found.modules()) or any(
        node.op == "call_function"
        and not str(getattr(node.target, "__module__", "")).startswith(("torch.", "_operator", "builtins", "math"))
        and any(each.op == "get_attr" for each in node.all_input_nodes)
        for node in found.graph.nodes
    )


def _symbolic(model: nn.Module, constants: dict[str, object]) -> fx.GraphModule:
    """Record the graph by torch.fx, with these values of all arguments but the first."""
    try:
        graph = _Tracer().trace(model, concrete_args=constants or None)
    except Exception as error:  # fx raises whatever the network's own code raises
        raise ShapPruneError(f"torch.fx cannot trace {type(model).__name__}: {first_line(error)}") from error
    leave_out_unused(graph, dict(model.named_modules()))
    return fx.GraphModule(model, graph, class_name=type(model).__name__)


def _name_squeezed_axes(traced: fx.GraphModule, images: Tensor) -> None:
    """Let a `squeeze` of all axes name those that it takes away from several images: not theirs where there is one."""
    bare = [
        node for node in traced.graph.nodes if name_of(node) == "squeeze" and len(node.args) + len(node.kwargs) == 1
    ]
    if not bare:
        return
    shapes, _ = node_shapes(traced, images[[0, 0]])
    for node in bare:
        (value,) = node.all_input_nodes
        node.args = (value, tuple(axis for axis, size in enumerate(shapes[value]) if size == 1))
        if node.target is torch.ops.aten.squeeze.default:
            node.target = torch.ops.aten.squeeze.dims
    traced.recompile()


def _check_inputs(model: nn.Module) -> dict[str, object]:
    """The arguments of a forward pass but for the images, with their defaults.

    Raises:
        ShapPruneError: some have none.
    """
    needed, constants = [], {}
    for key, parameter in inspect.signature(model.forward).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.default is parameter.empty:
            needed.append(key)
        else:
            constants[key] = parameter.default
    if not needed and constants:  # forward(x=None): the first argument takes the images
        needed.append(next(iter(constants)))
        del constants[needed[0]]
    if len(needed) > 1:
        raise ShapPruneError(
            f"{type(model).__name__} takes {len(needed)} inputs ({', '.join(needed)}), only networks of one input can"
            " be cut"
        )
    return constants


class _Tracer(fx.Tracer):
    """Records known modules as one operation, also those of a subclass that keeps their forward; attention in steps."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if _opens(m):
            return False
        return super().is_leaf_module(m, module_qualified_name) or keeps_forward(m) or is_norm_act(m)

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        if _opens(m):
            forward = in_steps(m).forward
        return super().call_module(m, forward, args, kwargs)


def _opens(module: nn.Module) -> bool:
    return (type(module) is nn.MultiheadAttention and can_have_fewer(module)) or is_windowed(module)


@contextmanager
def attributes_kept(model: nn.Module) -> Iterator[None]:
    """Take back, after the block, what a traced forward sets: attributes of modules, and items of their containers."""
    before = [(module, dict(vars(module))) for module in model.modules()]
    containers = [each for _, own in before for each in own.values() if isinstance(each, dict | list | set)]
    items = [(each, copy.copy(each)) for each in containers]
    try:
        yield
    finally:
        for module, own in before:
            vars(module).clear()
            vars(module).update(own)
        for each, kept in items:
            each.clear()
            each.extend(kept) if isinstance(each, list) else each.update(kept)
