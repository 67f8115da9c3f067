"""How large a network is: parameters, bytes and multiply-accumulate operations."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from shapprune.graph.operations import LAYERS
from shapprune.networks.modes import mode


def count_parameters(model: nn.Module) -> int:
    """How many parameters a network has.

    Examples:
        >>> from torch import nn
        >>> from shapprune.graph.counting import count_parameters
        >>> count_parameters(nn.Linear(4, 2))
        10
    """
    return sum(parameter.numel() for parameter in model.parameters())


def count_bytes(model: nn.Module) -> int:
    """How many bytes the parameters and buffers of a network take.

    Examples:
        >>> from torch import nn
        >>> from shapprune.graph.counting import count_bytes
        >>> count_bytes(nn.Linear(4, 2))
        40
    """
    return sum(each.numel() * each.element_size() for each in (*model.parameters(), *model.buffers()))


def count_macs(model: nn.Module, example: Tensor) -> int:
    """How many multiply-accumulate operations the convolutions and linear layers take for one image.

    Args:
        model: the network.
        example: images, [N, ...]; only the first is used.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from shapprune.graph.counting import count_macs
        >>> count_macs(nn.Conv2d(1, 2, 3), torch.rand(1, 1, 8, 8))  # 36 positions, 2 x 9 weights
        648
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
