"""Prepare the part of a network after a cut, so that it runs fast many times."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Collection, Mapping

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from shapprune.game.cpu_products import MapProduct, Product, suits
from shapprune.graph.cut import Cut

# From so many positions on, a CPU convolves faster with the channels last in memory (3x3 convolutions of oneDNN:
# 1.5 to 3.7 times as fast on 32 x 32, 1.15 times on 7 x 7, 0.96 times on 4 x 4, 0.6 times on 2 x 2).
_SMALL_MAP = 36
_NORMS: dict[type[nn.Module], type[nn.modules.batchnorm._BatchNorm]] = {
    nn.Conv1d: nn.BatchNorm1d,
    nn.Conv2d: nn.BatchNorm2d,
    nn.Conv3d: nn.BatchNorm3d,
}


def make_ready(
    cut: Cut, shapes: Mapping[fx.Node, torch.Size], cuda: bool, changing: Collection[str] = ()
) -> bool | None:
    """Fold BatchNorm into convolutions and choose the fastest form and memory format of each layer, in ``cut.after``.

    The modules of the network itself are not changed. Outputs differ by rounding only.

    Args:
        cut: the network, in eval mode.
        shapes: shape of every tensor of the network.
        cuda: whether it runs on CUDA, where all convolutions have their channels last.
        changing: layers whose weights change between calls; they, and what would be folded into them, stay as they are.

    Returns:
        Whether what enters should have its channels last; None if no convolution of maps follows.
    """
    rest = cut.after
    _fold_norms(rest, changing)
    channels_last: dict[str, bool] = {}
    calls = Counter(node.target for node in cut.nodes[1:] if node.op == "call_module")
    shared = {str(node.target).rpartition(".")[0] for node in rest.graph.nodes if node.op == "get_attr"}
    for node in cut.nodes[1:]:
        if node.op != "call_module" or node.target in shared or node.target in changing:
            continue
        name, module = str(node.target), rest.get_submodule(str(node.target))
        # Of exactly these types: a subclass may compute its weight in each call.
        if type(module) is nn.Linear and not cuda and module.weight.dtype == torch.float32:
            rest.set_submodule(name, Product(module.weight, module.bias))
        elif type(module) is nn.Conv2d:
            size, out_size = shapes[node.all_input_nodes[0]][2:], shapes[node][2:]
            if not cuda and calls[name] == 1 and suits(module, size, out_size):
                rest.set_submodule(name, MapProduct(module, size, out_size))
                channels_last[name] = True
            else:
                large = cuda or size.numel() >= _SMALL_MAP
                channels_last[name] = large and channels_last.get(name, True)
    for name, last in channels_last.items():
        if last and type(convolution := rest.get_submodule(name)) is nn.Conv2d:
            convolution = copy.deepcopy(convolution).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            rest.set_submodule(name, convolution)
    for node in list(rest.graph.nodes):
        # A view may fail on channels last; a convolution would take its format from its input.
        if (node.op == "call_method" and node.target == "view") or channels_last.get(str(node.target)) is False:
            value = node.all_input_nodes[0]
            with rest.graph.inserting_before(node):
                node.replace_input_with(value, rest.graph.call_method("contiguous", (value,)))
    rest.recompile()
    return next(iter(channels_last.values()), None)


def _fold_norms(rest: fx.GraphModule, changing: Collection[str]) -> None:
    modules = dict(rest.named_modules())
    calls = Counter(node.target for node in rest.graph.nodes if node.op == "call_module")
    for node in list(rest.graph.nodes):
        value = node.all_input_nodes[0] if node.op == "call_module" else node
        before, norm = modules.get(str(value.target)), modules.get(str(node.target))
        if (
            isinstance(before, nn.Conv1d | nn.Conv2d | nn.Conv3d)
            and type(norm) is _NORMS.get(type(before))  # of exactly these types: a subclass may do more
            and norm.running_var is not None
            and value.target not in changing
            and len(value.users) == calls[value.target] == 1
        ):
            rest.set_submodule(str(value.target), fuse_conv_bn_eval(before, norm))
            node.replace_all_uses_with(value)
            rest.graph.erase_node(node)
