"""How large a network is: parameters, bytes and multiply-accumulate operations."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from shapprune.graph.operations import is_layer, weight_of
from shapprune.networks.fewer_heads import is_joint
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

    Products of queries, keys and values have no weights and are not counted.

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
        weight = weight_of(module)
        positions = output[0].numel() // weight.shape[0]
        total += positions * weight.numel()

    def add_attention(module: nn.Module, inputs: tuple[Tensor, ...], output: tuple[Tensor, object]) -> None:
        nonlocal total
        weights = module.get_parameter("in_proj_weight").numel()
        if isinstance(module, nn.MultiheadAttention):  # it uses the weight of its last layer and does not call it
            weights += module.out_proj.weight.numel()
        total += output[0].numel() // output[0].shape[-1] * weights

    hooks = [module.register_forward_hook(add) for module in model.modules() if is_layer(module)]
    hooks += [module.register_forward_hook(add_attention) for module in model.modules() if is_joint(module)]
    try:
        with torch.no_grad(), mode(model, training=False):
            model(example[:1])
    finally:
        for hook in hooks:
            hook.remove()
    return total
