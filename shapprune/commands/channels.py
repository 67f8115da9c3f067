"""How many channels the images of a network have, by the layer that runs first on them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Size, nn
from torch.nn.modules.conv import _ConvNd

from shapprune.networks.modes import mode


def channels_taken(model: nn.Module, channels: int, size: tuple[int, int], shapes: Mapping[str, Size]) -> int | None:
    """Read off the layer that runs first, a convolution or a linear layer, how many channels an image has.

    Args:
        model: a network of the layers that the file has; its own sizes count only where the file does not have them.
        channels: of the images that it is run on.
        size: height and width of an image.
        shapes: of the tensors in the file.

    Returns:
        The channels; None where no such layer runs, or the images of the network have another size.
    """
    layer, _ = _run(model, channels, size)
    return None if layer is None else _taken(layer, dict(model.named_modules())[layer], size, shapes)


def find_channels(model: nn.Module, size: tuple[int, int], shapes: Mapping[str, Size]) -> int | None:
    """Find how many channels an image has: 3 or 1, whichever the network runs on.

    Where it runs on both, as one that subtracts three means from a grey image does, its first layer decides, and also
    where it runs on neither, as on images of another size.

    Args:
        model: the network, with any weights.
        size: height and width of an image.
        shapes: of the tensors in its file.
    """
    runs = [channels for channels in (3, 1) if _run(model, channels, size)[1]]
    return runs[0] if len(runs) == 1 else channels_taken(model, 3, size, shapes)


def _run(model: nn.Module, channels: int, size: tuple[int, int]) -> tuple[str | None, bool]:
    """The name of the first layer that runs on an image, and whether the network comes to its end."""
    names: list[str] = []
    layers = {name: each for name, each in model.named_modules() if isinstance(each, nn.Linear | _ConvNd)}
    hooks = [
        layer.register_forward_pre_hook(lambda *_, name=name: names.append(name)) for name, layer in layers.items()
    ]
    try:
        with torch.no_grad(), mode(model, training=False):
            model(torch.zeros(1, channels, *size))
        return next(iter(names), None), True
    except Exception:  # noqa: BLE001  a network may raise anything on images that are not of its kind
        return next(iter(names), None), False
    finally:
        for hook in hooks:
            hook.remove()


def _taken(name: str, layer: nn.Module, size: tuple[int, int], shapes: Mapping[str, Size]) -> int | None:
    """The channels that a layer takes: [outputs, channels / groups, ...], or [outputs, channels * height * width]."""
    shape = shapes.get(f"{name}.weight")
    if isinstance(layer, _ConvNd):
        return layer.in_channels if shape is None else shape[1] * layer.groups
    assert isinstance(layer, nn.Linear)
    channels, left = divmod(layer.in_features if shape is None else shape[1], math.prod(size))
    return None if left else channels
