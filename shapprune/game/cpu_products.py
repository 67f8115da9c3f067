"""Linear layers, and convolutions of the smallest maps, as matrix products that are fast on a CPU.

They replace layers in the part of a network that coalitions run: float32, with a gradient in the values but not in the
weights. Results differ from those of the layers by rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Size limit of a convolution's matrix, in bytes.
_LARGEST = 64 * 2**20


class Product(nn.Module):
    """A linear layer, computed by oneDNN if this torch offers it.

    Args:
        weight: [out, in].
        bias: [out], or None.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None):
        super().__init__()
        self._weight, self._bias = weight.detach(), None if bias is None else bias.detach()
        self._back: Tensor | None = None

    def forward(self, values: Tensor) -> Tensor:
        """[..., in] -> [..., out]."""
        run = onednn_linear()
        if run is None or values.numel() == 0 or torch.is_autocast_enabled("cpu"):
            return F.linear(values, self._weight, self._bias)
        rows = values.reshape(-1, values.shape[-1])
        if torch.is_grad_enabled() and values.requires_grad:
            if self._back is None:
                self._back = self._weight.t().contiguous()
            found = cast(Tensor, _Differentiable.apply(rows, self._weight, self._bias, self._back))
        else:
            found = run(rows, self._weight, self._bias)
        return found.reshape(*values.shape[:-1], len(self._weight))


class MapProduct(Product):
    """A convolution as one matrix from its whole input to its whole output.

    Args:
        convolution: one that `suits`.
        size: height and width of its input.
        out_size: height and width of its output.
    """

    def __init__(self, convolution: nn.Conv2d, size: Sequence[int], out_size: Sequence[int]):
        weight = convolution.weight.detach()
        out, channels, *kernel = weight.shape
        matrix = weight.new_zeros(*out_size, out, *size, channels)
        # Along each axis, the place in the kernel that connects an output position with an input position.
        taps = [
            [_tap(to, at, convolution, axis) for to in range(out_size[axis]) for at in range(size[axis])]
            for axis in (0, 1)
        ]
        for vertical, row in enumerate(taps[0]):
            for horizontal, column in enumerate(taps[1]):
                if 0 <= row < kernel[0] and 0 <= column < kernel[1]:
                    (y, y_in), (x, x_in) = divmod(vertical, size[0]), divmod(horizontal, size[1])
                    matrix[y, x, :, y_in, x_in] = weight[:, :, row, column]
        positions = math.prod(out_size)
        bias = None if convolution.bias is None else convolution.bias.detach().repeat(positions)
        super().__init__(matrix.reshape(positions * out, -1), bias)
        self._shape = (*out_size, out)

    def forward(self, values: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, out, h, w]; both should have their channels last in memory."""
        return super().forward(values.movedim(1, -1).flatten(1)).reshape(-1, *self._shape).movedim(-1, 1)


def suits(convolution: nn.Conv2d, size: Sequence[int], out_size: Sequence[int]) -> bool:
    """Whether a convolution is faster as a matrix: its kernel has more places than its input, so many meet padding.

    Args:
        convolution: the layer.
        size: height and width of its input.
        out_size: height and width of its output.
    """
    weight = convolution.weight
    numbers = weight.shape[0] * weight.shape[1] * math.prod(size) * math.prod(out_size)
    return (
        weight.dtype == torch.float32
        and convolution.groups == 1
        and convolution.padding_mode == "zeros"
        and not isinstance(convolution.padding, str)
        and math.prod(size) < weight.shape[2:].numel()
        and numbers * weight.element_size() <= _LARGEST
    )


def _tap(to: int, at: int, convolution: nn.Conv2d, axis: int) -> int:
    """The place in the kernel that connects two positions; -1, or past the end of the kernel, if there is none."""
    offset = at + int(convolution.padding[axis]) - to * convolution.stride[axis]
    place, rest = divmod(offset, convolution.dilation[axis])
    return -1 if rest else place


class _Differentiable(torch.autograd.Function):
    """The product of oneDNN with a gradient in the rows."""

    @staticmethod
    def forward(ctx, rows: Tensor, weight: Tensor, bias: Tensor | None, back: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(back)
        run = onednn_linear()
        assert run is not None
        return run(rows, weight, bias)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None, None]:  # type: ignore[no-untyped-def, override]
        (back,) = ctx.saved_tensors
        run = onednn_linear()
        assert run is not None
        return run(gradient.contiguous(), back, None), None, None, None


@cache
def onednn_linear() -> Callable[[Tensor, Tensor, Tensor | None], Tensor] | None:
    """The linear layer of oneDNN, or None if this torch does not have it.

    With float32 on AMD processors it is twice as fast as the one that torch chooses. It is not in torch's public
    interface, so it is tried on a small product first.
    """

    def run(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return cast(Tensor, torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], ""))

    some = torch.linspace(-1, 1, 48)
    rows, weight, bias = some.reshape(8, 6), some[:30].reshape(5, 6), some[:5]
    try:
        if torch.backends.mkldnn.is_available() and torch.allclose(
            run(rows, weight, bias), F.linear(rows, weight, bias), atol=1e-5
        ):
            return run
    except (AttributeError, RuntimeError):
        pass
    return None
