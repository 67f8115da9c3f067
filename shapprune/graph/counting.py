"""How large a network is: parameters, bytes and multiply-accumulate operations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from shapprune.graph.operations import is_layer, weight_of
from shapprune.networks.fewer_heads import FewerHeads, is_attention
from shapprune.networks.modes import mode
from shapprune.networks.window_attention import count_windowed_macs, is_windowed


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
    """How many multiply-accumulate operations the convolutions and linear layers take for one image or sequence.

    Those of `torch.nn.MultiheadAttention` and of torchvision's Swin count, too. Products of queries with keys and of
    weights with values are left out, as are all operations without parameters.

    Args:
        model: the network.
        example: images, [N, ...], or tokens, [N, T]; only the first is used.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from shapprune.graph.counting import count_macs
        >>> count_macs(nn.Conv2d(1, 2, 3), torch.rand(1, 1, 8, 8))  # 36 positions, 2 x 9 weights
        648
        >>> count_macs(nn.Linear(4, 3), torch.rand(1, 10, 4))  # 10 tokens, 12 weights
        120
    """
    counts = list[int]()

    def add(module: nn.Module, args: tuple[Tensor, ...], given: Mapping[str, Tensor], output: Any) -> None:
        counts.append(_macs_of(module, args, given, output))

    counted = [module for module in model.modules() if is_layer(module) or is_attention(module) or is_windowed(module)]
    hooks = [module.register_forward_hook(add, with_kwargs=True) for module in counted]
    try:
        with torch.no_grad(), mode(model, training=False):
            model(example[:1].clone())
    finally:
        for hook in hooks:
            hook.remove()
    return sum(counts)


def _macs_of(module: nn.Module, args: tuple[Tensor, ...], given: Mapping[str, Tensor], output: Any) -> int:
    """What a call of a layer takes, by what it was given and puts out."""
    if is_attention(module):
        query, key, value = [*args, *(given[name] for name in ("query", "key", "value") if name in given)][:3]
        if isinstance(module, FewerHeads):  # its last layer is counted by itself
            return module.num_heads * module.head_dim * (query.numel() + key.numel() + value.numel())
        assert isinstance(module, nn.MultiheadAttention)
        return module.embed_dim * (2 * query.numel() + key.numel() + value.numel())
    if is_windowed(module):
        return count_windowed_macs(module, args[0])
    weight = weight_of(module)
    positions = int(output.numel()) // weight.shape[0]  # also where tokens are rows beside one another
    return positions * weight.numel()
