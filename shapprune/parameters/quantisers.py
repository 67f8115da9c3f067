"""Weights of few bits: the nearest codes, and GPTQ, which makes up for each rounding in the columns that follow."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from shapprune.core.errors import ShapPruneError
from shapprune.parameters.hessians import inverse_root

BITS = (4, 8)


@dataclass(frozen=True)
class Quantised:
    """A weight as whole numbers, with a scale for each of its outputs.

    Attributes:
        codes: int8, in the shape of the weight [out, ...], from -(2^(bits - 1) - 1) to 2^(bits - 1) - 1.
        scales: float32 [out]; a weight is its code times the scale of its row.
        bits: 4 or 8.
        damping: what was added to the diagonal of the Hessian, as a share of its mean; 0 where there was none.
    """

    codes: Tensor
    scales: Tensor
    bits: int
    damping: float = 0.0

    def weight(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """The weight that the codes stand for."""
        return (self.codes.flatten(1) * self.scales[:, None]).view(self.codes.shape).to(dtype)

    @property
    def bytes(self) -> int:
        """What codes and scales take in a file."""
        return -(-self.codes.numel() * self.bits // 8) + 4 * self.scales.numel()


def scales_of(weight: Tensor, bits: int) -> Tensor:
    """The scale of each row of a weight: its largest absolute value has the largest code.

    Args:
        weight: [out, ...].
        bits: 4 or 8.

    Returns:
        float32 [out]; 1 for a row of zeros.

    Raises:
        ShapPruneError: another number of bits, or a weight that is not finite.
    """
    if bits not in BITS:
        raise ShapPruneError(f"weights of {bits} bits are not possible; allowed: 4, 8")
    if not weight.isfinite().all():
        raise ShapPruneError(f"a weight {list(weight.shape)} that is not finite cannot be quantised")
    largest = weight.detach().flatten(1).abs().amax(1).float()
    return torch.where(largest > 0, largest / _largest(bits), 1.0)


def round_to_nearest(weight: Tensor, bits: int = 8) -> Quantised:
    """Give each number of a weight its nearest code.

    Args:
        weight: [out, ...].
        bits: 4 or 8.

    Raises:
        ShapPruneError: as `scales_of`.

    Examples:
        >>> import torch
        >>> from shapprune.parameters.quantisers import round_to_nearest
        >>> found = round_to_nearest(torch.tensor([[0.7, -0.26, 0.1], [0.0, 14.0, -6.5]]), bits=4)
        >>> found.codes.tolist(), found.scales.tolist()  # 6.5 lies as near to 3 as to 4 steps: the even one
        ([[7, -3, 1], [0, 7, -3]], [0.1, 2.0])
        >>> found.weight()
        tensor([[ 0.7000, -0.3000,  0.1000],
                [ 0.0000, 14.0000, -6.0000]])
        >>> found.bytes  # six codes of half a byte, two scales
        11

    Source: Appendix F of Chu et al. 2025 for the symmetric range.
    """
    scales = scales_of(weight, bits)
    codes = _nearest(weight.detach().flatten(1).double(), scales.double()[:, None], bits)
    return Quantised(codes.to(torch.int8).view(weight.shape), scales, bits)


def gptq(weight: Tensor, hessian: Tensor, bits: int = 4, *, damping: float = 0.01, block: int = 128) -> Quantised:
    """Quantise a weight column by column, and make up for the error of each in those that follow.

    With W the weight, Q what comes out, and H the Hessian it lowers tr((W - Q) H (W - Q)'), the squared error of the
    layer's outputs. With a diagonal H nothing follows from the error of a column, and the codes are the nearest.

    Args:
        weight: [out, ...], k numbers a row.
        hessian: [k, k], as `shapprune.parameters.hessians.input_hessians` makes it.
        bits: 4 or 8.
        damping: share of the mean of the Hessian's diagonal that is added to it, at least 0; more where it is not
            positive definite, and ``damping`` of the result says how much.
        block: columns whose errors are carried on together, at least 1; it changes the time alone.

    Raises:
        ShapPruneError: as `scales_of`; a Hessian of another size or not finite, or ``damping`` or ``block`` out of
            bounds.

    Examples:
        >>> import torch
        >>> from shapprune.parameters.quantisers import gptq
        >>> weight, hessian = torch.tensor([[0.7, 0.14, 0.14]]), torch.ones(3, 3)  # three inputs that are the same
        >>> gptq(weight, hessian, damping=1e-6).codes  # the nearest of each would be 7, 1, 1
        tensor([[7, 1, 2]], dtype=torch.int8)

    Source: Frantar et al. 2023, "GPTQ: accurate post-training quantization for generative pre-trained transformers",
    Algorithm 1.
    """
    if block < 1:
        raise ShapPruneError(f"a block of {block} columns is not possible, it needs 1 or more")
    scales = scales_of(weight, bits)
    W, each = weight.detach().flatten(1).double(), scales.double()[:, None]
    if hessian.shape != (W.shape[1], W.shape[1]):
        raise ShapPruneError(f"a Hessian {list(hessian.shape)} does not fit a weight of {W.shape[1]} columns")
    root, damping = inverse_root(hessian.to(W.device), damping)
    W, codes = W.clone(), torch.empty_like(W)
    for start in range(0, W.shape[1], block):
        stop = min(start + block, W.shape[1])
        errors = torch.empty_like(W[:, start:stop])
        for column in range(start, stop):
            codes[:, column] = _nearest(W[:, column, None], each, bits)[:, 0]
            error = (W[:, column] - codes[:, column] * each[:, 0]) / root[column, column]
            W[:, column + 1 : stop] -= torch.outer(error, root[column, column + 1 : stop])
            errors[:, column - start] = error
        W[:, stop:] -= errors @ root[start:stop, stop:]
    return Quantised(codes.to(torch.int8).view(weight.shape), scales, bits, damping)


def proxy_loss(weight: Tensor, found: Quantised, hessian: Tensor) -> float:
    """What quantisation does to the outputs of a layer: tr((W - Q) H (W - Q)') of weight W and quantised Q.

    With H = 2 X'X / n it is twice the squared error of the outputs, summed over them, mean over the n rows of inputs.

    Args:
        weight: [out, ...], k numbers a row, before.
        found: its codes.
        hessian: [k, k].

    Examples:
        >>> import torch
        >>> from shapprune.parameters.quantisers import gptq, proxy_loss, round_to_nearest
        >>> weight, hessian = torch.tensor([[0.7, 0.14, 0.14]]), torch.ones(3, 3)
        >>> [round(proxy_loss(weight, found(weight, hessian), hessian), 4) for found in (
        ...     lambda weight, _: round_to_nearest(weight, 4), gptq)]
        [0.0064, 0.0004]
    """
    off = (weight.detach().double() - found.weight(torch.float64).to(weight.device)).flatten(1)
    return float((off @ hessian.double() * off).sum())


def _nearest(values: Tensor, scales: Tensor, bits: int) -> Tensor:
    return (values / scales).round().clamp(-_largest(bits), _largest(bits))


def _largest(bits: int) -> int:
    return 2 ** (bits - 1) - 1
