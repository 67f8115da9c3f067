"""Networks made as small as tensors that were stored without some of their units."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from shapprune.networks.fewer_heads import resized

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
# Modules with a number or more for each unit -> the attribute that counts the units.
_COUNTS: dict[type[nn.Module], str] = {
    nn.modules.batchnorm._NormBase: "num_features",
    nn.PReLU: "num_parameters",
    nn.GroupNorm: "num_channels",
}
_RESIZED: tuple[type[nn.Module], ...] = (*_CONVOLUTIONS, nn.Linear, *_COUNTS)


def fit(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Make the layers of a network as small as their stored tensors, where only units or inputs are missing.

    Args:
        model: the network; its convolutions, linear layers, norms of channels and PReLUs are changed in place.
        state: the stored tensors, by name.
    """
    attending = resized(model)
    for name, module in model.named_modules():
        if not (isinstance(module, _RESIZED) or name in attending or is_transposed(module)):
            continue
        prefix = f"{name}." if name else ""
        own = {leaf: tensor for leaf, tensor in _tensors(module) if leaf not in module._non_persistent_buffers_set}
        shapes = {leaf: state[prefix + leaf].shape for leaf in own if prefix + leaf in state}
        if shapes.keys() == own.keys() and _smaller(own, shapes):
            _resize(module, own, shapes)


def _smaller(own: Mapping[str, Tensor], shapes: Mapping[str, torch.Size]) -> bool:
    """Whether some tensor has fewer outputs or inputs (its first two sides) in the file, and none has more."""
    if all(tensor.shape == shapes[leaf] for leaf, tensor in own.items()):
        return False
    return all(
        tensor.dim() == len(shapes[leaf])
        and tensor.shape[2:] == shapes[leaf][2:]
        and all(new <= old for new, old in zip(shapes[leaf][:2], tensor.shape[:2], strict=True))
        for leaf, tensor in own.items()
    )


def _resize(module: nn.Module, own: Mapping[str, Tensor], shapes: Mapping[str, torch.Size]) -> None:
    """Give a layer empty tensors of these shapes, and the matching attributes."""
    for leaf, tensor in own.items():
        empty = tensor.new_empty(shapes[leaf])
        keep = isinstance(tensor, nn.Parameter)
        setattr(module, leaf, nn.Parameter(empty, tensor.requires_grad) if keep else empty)
    outputs = next(iter(shapes.values()))[0]
    if isinstance(module, nn.Linear) or is_transposed(module):
        count_again(module)
    elif isinstance(module, _CONVOLUTIONS):
        if module.groups == module.in_channels > 1:  # depthwise: each input is a group with its outputs
            module.groups = outputs * module.groups // module.out_channels
        module.in_channels, module.out_channels = shapes["weight"][1] * module.groups, outputs
    else:
        for kind, count in _COUNTS.items():
            if isinstance(module, kind):
                setattr(module, count, outputs)


def is_transposed(module: nn.Module) -> bool:
    """Whether a module is a linear layer with its weight transposed, as those of GPT-2 in the package transformers."""
    return type(module).__name__ == "Conv1D" and "transformers" in type(module).__module__


def count_again(module: nn.Module) -> None:
    """Give a linear layer the counts of inputs and outputs that its weight has."""
    if isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif is_transposed(module):
        nx, nf = module.get_parameter("weight").shape
        vars(module).update(nx=nx, nf=nf)


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The parameters and buffers of a module, by their own names."""
    yield from module.named_parameters(recurse=False)
    yield from module.named_buffers(recurse=False)
