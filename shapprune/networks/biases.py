"""Layers that were built without a bias, and have got one."""

from __future__ import annotations

from torch import nn

from shapprune.core.errors import ShapPruneError


def add_bias(model: nn.Module, name: str) -> None:
    """Give a layer a bias of zeros, in place; `added_biases` of the network keeps its name for storage.

    Args:
        model: the network.
        name: of a convolution or linear layer without a bias.

    Raises:
        ShapPruneError: there is no such layer, or it cannot have a bias.

    Examples:
        >>> from torch import nn
        >>> from shapprune.networks.biases import add_bias, added_biases
        >>> model = nn.Sequential(nn.Linear(4, 2, bias=False))
        >>> add_bias(model, "0")
        >>> model[0].bias.tolist(), added_biases(model)
        ([0.0, 0.0], ['0'])
    """
    module = dict(model.named_modules()).get(name)
    weight, parameters = getattr(module, "weight", None), getattr(module, "_parameters", {})
    if not isinstance(weight, nn.Parameter) or parameters.get("bias", weight) is not None:
        raise ShapPruneError(f"{name!r} of {type(model).__name__} is no layer without a bias that could have one")
    assert module is not None
    module.bias = nn.Parameter(weight.new_zeros(len(weight)), weight.requires_grad)
    model.added_biases = [*added_biases(model), name]  # type: ignore[assignment]


def added_biases(model: nn.Module) -> list[str]:
    """The layers of a network that were built without a bias and have got one."""
    return list(getattr(model, "added_biases", []))
