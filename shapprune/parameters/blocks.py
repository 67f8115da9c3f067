"""Blocks of parameters: a Hessian is cut into them, and what lies between two blocks is left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

# `row`: a row of a layer's weight, with its bias; `layer`: all parameters of a module, without those inside it.
Kind = Literal["parameter", "row", "matrix", "head", "layer", "whole"]
KINDS = ("parameter", "row", "matrix", "head", "layer", "whole")


class Blocks:
    """Which block each number of some parameters is in.

    Args:
        kind: ``parameter`` (each number by itself), ``row``, ``matrix`` (each tensor), ``layer`` or ``whole``.
        weights: the parameters by name.
        axes: name -> the axis along which the rows of a parameter lie.
        heads: name -> the head of each place, whole numbers that can be broadcast to the parameter. These parameters
            are cut by heads; all others are cut by ``kind``.

    Attributes:
        count: how many blocks there are.

    Examples:
        >>> import torch
        >>> from shapprune.parameters.blocks import Blocks
        >>> weights = {"fc.weight": torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "fc.bias": torch.tensor([5.0, 6.0])}
        >>> blocks = Blocks("row", weights, {"fc.weight": 0, "fc.bias": 0})
        >>> ones = [torch.ones(2, 2), torch.ones(2)]
        >>> blocks.count, blocks.rank_one(ones, list(weights.values()))
        (2, [tensor([[ 8.,  8.],
            [13., 13.]]), tensor([ 8., 13.])])
    """

    def __init__(
        self,
        kind: str,
        weights: Mapping[str, Tensor],
        axes: Mapping[str, int],
        heads: Mapping[str, Tensor] | None = None,
    ):
        heads = heads or {}
        self.count = 1 + max((int(each.max()) for each in heads.values()), default=-1)
        begins: dict[object, int] = {}
        self._places: list[Tensor] = []
        for name, weight in weights.items():
            if name in heads:
                self._places.append(heads[name].to(weight.device))
                continue
            key, local = _local(kind, name, weight, axes[name])
            if key not in begins:
                begins[key] = self.count
                self.count += local.numel()
            self._places.append(local.to(weight.device) + begins[key])

    def rank_one(self, gradients: Sequence[Tensor], weights: Sequence[Tensor]) -> list[Tensor]:
        """The product of g g', cut into blocks, with the parameters: g (g . theta) in each block."""
        dots = torch.zeros(self.count, dtype=gradients[0].dtype, device=gradients[0].device)
        for gradient, weight, places in zip(gradients, weights, self._places, strict=True):
            products = (gradient * weight).sum_to_size(places.shape)
            dots.index_add_(0, places.flatten(), products.flatten().to(dots.dtype))
        return [g * dots[places].to(g.dtype) for g, places in zip(gradients, self._places, strict=True)]

    def members(self) -> Iterator[list[tuple[int, Tensor]]]:
        """Of each block the parameters that it has numbers of, by index, and a mask of the numbers."""
        for block in range(self.count):
            masks = [places == block for places in self._places]
            yield [(index, mask) for index, mask in enumerate(masks) if mask.any()]


def _local(kind: str, name: str, weight: Tensor, axis: int) -> tuple[object, Tensor]:
    """What shares blocks with a parameter, and the block of each of its places among these."""
    module = name.rpartition(".")[0]
    if kind == "parameter":
        return name, torch.arange(weight.numel()).view(weight.shape)
    if kind == "row" and weight.dim():
        shape = [1] * weight.dim()
        shape[axis] = -1
        return (module, weight.shape[axis]), torch.arange(weight.shape[axis]).view(shape)
    shared = {"layer": module, "whole": ""}.get(kind, name)
    return shared, torch.zeros([1] * weight.dim(), dtype=torch.long)
