"""Record a network's graph by torch.export, with its layers as one operation each, as torch.fx records them.

torch.export runs the network's own code, so it follows what torch.fx cannot: decisions on sizes, arguments that are
None, decorated methods. What it records are ATen operations on parameters; those that are the whole of a layer or of a
BatchNorm become a call of the module again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from shapprune.core.errors import ShapPruneError, first_line
from shapprune.graph.operations import (
    LAYERS,
    has_own_weights,
    is_norm_act,
    is_own_activation,
    keeps_forward,
    leave_out_unused,
    name_of,
)
from shapprune.networks.resizing import is_transposed

_KINDS = (*LAYERS, nn.modules.batchnorm._BatchNorm)
# Operations that are all that such a module does -> where its weight and bias are among the arguments.
_LAYERS = {"linear": (1, 2), "conv1d": (1, 2), "conv2d": (1, 2), "conv3d": (1, 2), "batch_norm": (1, 2)}


def export(model: nn.Module, images: Tensor) -> fx.GraphModule:
    """Record the graph of a network in eval mode. Modules and parameters are shared, not copied.

    Args:
        model: a network of one input, in eval mode.
        images: what it takes, [N, ...], N > 1; N may be another one later, the other sizes may not.

    Returns:
        A graph of modules and ATen operations. What the network returns as a dataclass is a dictionary.

    Raises:
        ShapPruneError: torch.export cannot follow the network.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from shapprune.graph.exporting import export
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
        >>> traced = export(model, torch.rand(2, 4))
        >>> [str(node.target) for node in traced.graph.nodes if node.op == "call_module"]
        ['0', '2']
    """
    images = images if len(images) > 1 else torch.cat([images, images])
    try:
        with _without_shortcuts(model), torch.no_grad():
            program = torch.export.export(
                model, (images,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},), strict=False
            )
    except Exception as error:  # it raises whatever the network's own code raises
        raise ShapPruneError(
            f"torch.export cannot follow {type(model).__name__}: {first_line(error)}; a network that returns tensors"
            " and takes its turns by sizes and options only can be followed"
        ) from error
    return _Lifted(model, program).module()


@contextlib.contextmanager
def _without_shortcuts(model: nn.Module) -> Iterator[None]:
    """Let attention be made of its parts, and language models return no cache, inside the block."""
    configs = {id(each.config): each.config for each in model.modules() if getattr(each, "config", None) is not None}
    cached = [config for config in configs.values() if getattr(config, "use_cache", None)]
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    for config in cached:
        config.use_cache = False  # type: ignore[union-attr]
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for config in cached:
            config.use_cache = True  # type: ignore[union-attr]


class _Lifted:
    """Makes a graph of modules from an exported one.

    Args:
        model: the network.
        program: what torch.export made of it.
    """

    def __init__(self, model: nn.Module, program: torch.export.ExportedProgram):
        self._model, self._program = model, program
        self._modules = dict(model.named_modules())
        self._owner = {id(each): name for name, module in self._modules.items() for each in module._parameters.values()}
        self._lifted: dict[str, nn.Module] = {}
        self._graph = fx.Graph()
        self._copied: dict[fx.Node, Any] = {}
        self._root: dict[str, Any] = {}

    def module(self) -> fx.GraphModule:
        """The graph module."""
        given = {each.arg.name: each for each in self._program.graph_signature.input_specs}
        inside = dict(self._program.graph_module.named_children())
        for node in self._program.graph.nodes:
            if node.op == "placeholder":
                self._copied[node] = self._input(node, given[node.name])
            elif node.op == "get_attr":
                self._root[node.target] = inside[node.target]
                self._copied[node] = self._graph.get_attr(node.target)
            elif node.op == "output":
                outputs = pytree.tree_unflatten(list(node.args[0]), self._program.call_spec.out_spec)
                self._graph.output(fx.node.map_arg(_plain(outputs), self._copied.__getitem__))
            else:
                self._copied[node] = self._operation(node)
        leave_out_unused(self._graph, self._modules)
        root = {}
        for node in self._graph.nodes:
            if node.op == "call_module":
                name = str(node.target)
                root[name] = self._lifted.get(name, self._modules[name])
            elif node.op == "get_attr":
                root[str(node.target)] = self._root[str(node.target)]
        return fx.GraphModule(root, self._graph, class_name=type(self._model).__name__)

    def _input(self, node: fx.Node, spec: Any) -> fx.Node:
        if spec.target is None:
            return self._graph.placeholder(node.name)
        owner, _, leaf = spec.target.rpartition(".")
        if owner in self._modules and hasattr(self._modules[owner], leaf):
            self._root[spec.target] = getattr(self._modules[owner], leaf)
        else:  # a constant of the code
            self._root[spec.target] = self._program.constants[spec.target]
        return self._graph.get_attr(spec.target)

    def _operation(self, node: fx.Node) -> fx.Node:
        name, values = self._layer(node), next(iter(node.all_input_nodes), node)
        if name is None and (found := self._transposed(node) or self._joined(node)) is not None:
            name, values = found
        if name is None:
            # Names are given anew: torch.export counts on past operations that it has dropped.
            args: Any = fx.node.map_arg(node.args, self._copied.__getitem__)
            kwargs: Any = fx.node.map_arg(node.kwargs, self._copied.__getitem__)
            copied = self._graph.create_node(node.op, node.target, args, kwargs, name=name_of(node))
        else:
            copied = self._graph.call_module(name, (self._copied[values],))
        copied.meta = {"nn_module_stack": node.meta.get("nn_module_stack", {})}
        return copied

    def _layer(self, node: fx.Node) -> str | None:
        """The layer that an operation with its weights is."""
        places = _LAYERS.get(name_of(node))
        if places is None:
            return None
        found = [self._parameter(node.args[place]) for place in places if place < len(node.args)]
        weights = [each for each in found if each is not None]
        for name in (scope_of(node), *(self._owner.get(id(each)) for each in weights[:1])):
            module = self._modules.get(name or "")
            if (
                module is None
                or not isinstance(module, _KINDS)
                or not (keeps_forward(module) and has_own_weights(module))
            ):
                continue
            own = [each for each in (module.weight, module.bias) if each is not None]
            if list(map(id, own)) == list(map(id, weights)):
                return name
        return None

    def _transposed(self, node: fx.Node) -> tuple[str, fx.Node] | None:
        """The linear layer that a product with a transposed weight is, and what goes into it (Conv1D of GPT-2)."""
        product = node.all_input_nodes[0] if name_of(node) == "view" else node
        if product is node or name_of(product) != "addmm" or len(product.users) != 1:
            return None
        bias, rows, weight = (each if isinstance(each, fx.Node) else None for each in product.args[:3])
        name = scope_of(node)
        module, own = self._modules.get(name), {id(self._parameter(each)) for each in (bias, weight)}
        if module is None or not is_transposed(module) or rows is None or name_of(rows) != "view":
            return None
        if own != {id(module.weight), id(module.bias)}:
            return None
        self._lifted[name] = Transposed(module)
        return name, rows.all_input_nodes[0]

    def _joined(self, node: fx.Node) -> tuple[str, fx.Node] | None:
        """The module of several operations that ends here (a non-linearity, or a norm with one), and its input."""
        scope = scope_of(node)
        for name in (scope, scope.rpartition(".")[0]):
            module = self._modules.get(name)
            if module is None or not (is_norm_act(module) or (name == scope and is_own_activation(module))):
                continue
            if all(_is_within(user, name) for user in node.users):
                return None
            ahead, inputs = [node], set[fx.Node]()
            while ahead:
                for each in ahead.pop().all_input_nodes:
                    if _is_within(each, name):
                        ahead.append(each)
                    elif self._copied[each].op != "get_attr":
                        inputs.add(each)
            return (name, inputs.pop()) if len(inputs) == 1 else None
        return None

    def _parameter(self, node: object) -> Any:
        """What a node stands for, if it is a parameter."""
        copied = self._copied[node] if isinstance(node, fx.Node) else None
        return None if copied is None or copied.op != "get_attr" else self._root[copied.target]


class Transposed(nn.Linear):
    """A linear layer on the weights of one that has them transposed; they share memory.

    Args:
        module: it, with a weight [in, out] and a bias.
    """

    def __init__(self, module: nn.Module):
        weight, bias = module.get_parameter("weight"), module.get_parameter("bias")
        super().__init__(weight.shape[0], weight.shape[1], device="meta")
        self.weight, self.bias = nn.Parameter(weight.t(), weight.requires_grad), bias


def recorded_layers(traced: fx.GraphModule) -> dict[str, nn.Module]:
    """The layers of a recorded graph that stand for others of the network, by their names."""
    return {name: module for name, module in traced.named_modules() if isinstance(module, Transposed)}


def scope_of(node: fx.Node) -> str:
    """The module in whose forward pass an operation is, by its name in the network."""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    return str(stack[-1][0]).partition("@")[0] if stack else ""


def _is_within(node: fx.Node, name: str) -> bool:
    """Whether an operation is in the forward pass of a module, or of one inside it."""
    return f"{scope_of(node)}.".startswith(f"{name}.")


def _plain(outputs: Any) -> Any:
    """Outputs with dictionaries in place of dataclasses that are dictionaries too."""
    if isinstance(outputs, dict):
        return {key: _plain(each) for key, each in outputs.items()}
    if isinstance(outputs, tuple | list) and not hasattr(outputs, "_fields"):
        return type(outputs)(map(_plain, outputs))
    return outputs
