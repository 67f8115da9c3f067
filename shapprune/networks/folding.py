"""BatchNorms in eval mode as what they are then: a scale and a shift of each channel."""

from __future__ import annotations

from torch import Tensor, nn


def scale_of(norm: nn.Module) -> Tensor:
    """What a BatchNorm with running statistics multiplies each channel with in eval mode, [channels].

    Examples:
        >>> import torch
        >>> from shapprune.networks.folding import scale_of
        >>> torch.allclose(scale_of(torch.nn.BatchNorm2d(3)), torch.ones(3), atol=1e-4)
        True
    """
    assert isinstance(norm, nn.modules.batchnorm._BatchNorm)
    scale = (norm.get_buffer("running_var") + norm.eps).rsqrt()
    return scale if norm.weight is None else scale * norm.weight.detach()
