"""How large a network is: parameters and multiply-accumulate operations."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from shapprune.graph.unit_graph import LAYERS
from shapprune.networks.modes import mode


def count_parameters(model: nn.Module) -> int:
    """How many numbers the parameters of ``model`` hold."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_macs(model: nn.Module, example: Tensor) -> int:
    """Multiply-accumulate operations of the convolutions and linear layers for one image.

    Args:
        model: the network.
        example: images, [N, ...]; the count is for one of them.
    """
    total = 0

    def add(module: nn.Module, inputs: object, output: Tensor) -> None:
        nonlocal total
        weight = module.weight
        assert isinstance(weight, Tensor)
        positions = output[0].numel() // weight.shape[0]
        total += positions * weight.numel()

    hooks = [module.register_forward_hook(add) for module in model.modules() if isinstance(module, LAYERS)]
    try:
        with torch.no_grad(), mode(model, training=False):
            model(example[:1])
    finally:
        for hook in hooks:
            hook.remove()
    return total
