"""Gradients of a mean loss, and products of its Hessian, exact or estimated, with the parameters themselves.

Write theta for the parameters, g for the gradient of the mean loss of a batch, and H for its Hessian. No H is ever
formed: what is made is H theta, which is as large as theta.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from shapprune.core.errors import ShapPruneError, first_line
from shapprune.parameters.blocks import Blocks
from shapprune.parameters.choice import Chosen

# `exact`: by two derivatives; `fisher`: the mean of g_s g_s' over the examples s; `batch`: g g';
# `shipped`: G G' from the left of each matrix, as in the code of Chu et al.; `none`: no second order.
HESSIANS = ("exact", "fisher", "batch", "shipped", "none")


class Curvature:
    """Gradients and products with the Hessian, of batch after batch.

    Args:
        losses: from examples and their labels to the loss of each, [N].
        chosen: the parameters, which the losses are functions of.
        hessian: one of `HESSIANS`.
        blocks: of the parameters.

    Attributes:
        reached: the names of the parameters that had a gradient so far.

    Source: Pearlmutter 1994, "Fast exact multiplication by the Hessian"; empirical Fisher and G G' of Chu et al. 2025.
    """

    def __init__(self, losses: Callable[[Tensor, Tensor], Tensor], chosen: Chosen, hessian: str, blocks: Blocks):
        self._losses, self._hessian, self._blocks = losses, hessian, blocks
        self._names, self._weights = list(chosen.weights), list(chosen.weights.values())
        self._axes = [chosen.axes[name] for name in self._names]
        self._values = [each.detach() for each in self._weights]
        self.reached: set[str] = set()

    @property
    def passes(self) -> float:
        """What a batch costs in evaluations: 3 a gradient, 6 more for a product with an exact Hessian of a block."""
        return 3.0 + 6.0 * self._blocks.count * (self._hessian == "exact")

    def of(self, inputs: Tensor, labels: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """The gradient of the mean loss of a batch, and the Hessian times the parameters; no products if ``none``."""
        with torch.enable_grad():
            if self._hessian == "exact":
                with sdpa_kernel(SDPBackend.MATH):  # fused attention has no second derivative
                    return self._exact(inputs, labels)
            if self._hessian == "fisher":
                return self._by_examples(inputs, labels)
            gradients = self._gradients(self._losses(inputs, labels).mean())
        if self._hessian == "batch":
            return gradients, self._blocks.rank_one(gradients, self._values)
        if self._hessian == "shipped":
            return gradients, list(map(_from_the_left, gradients, self._values, self._axes))
        return gradients, []

    def _exact(self, inputs: Tensor, labels: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        gradients = self._gradients(self._losses(inputs, labels).mean(), again=True)
        products = [torch.zeros_like(each) for each in self._values]
        for members in self._blocks.members():
            inside = [self._values[at] if mask.all() else self._values[at] * mask for at, mask in members]
            terms = [(gradients[at] * each).sum() for (at, _), each in zip(members, inside, strict=True)]
            along = torch.stack(terms).sum()
            if not along.requires_grad:  # the loss is linear in the block
                continue
            wanted = [self._weights[at] for at, _ in members]
            found = _second_gradients(along, wanted)
            for (at, mask), each in zip(members, found, strict=True):
                products[at].addcmul_(each, mask.to(each.dtype))
        return [each.detach() for each in gradients], products

    def _by_examples(self, inputs: Tensor, labels: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        gradients = [torch.zeros_like(each) for each in self._values]
        products = [torch.zeros_like(each) for each in self._values]
        for one, label in zip(inputs.split(1), labels.split(1), strict=True):
            own = self._gradients(self._losses(one, label).mean())
            for total, each in zip(gradients, own, strict=True):
                total.add_(each, alpha=1 / len(inputs))
            for total, each in zip(products, self._blocks.rank_one(own, self._values), strict=True):
                total.add_(each, alpha=1 / len(inputs))
        return gradients, products

    def _gradients(self, loss: Tensor, again: bool = False) -> list[Tensor]:
        """The gradients of a loss; those of parameters that it does not depend on are zero."""
        if not loss.requires_grad:
            raise ShapPruneError(f"the payoff has no gradient in any of {len(self._names)} parameters")
        found = torch.autograd.grad(loss, self._weights, create_graph=again, allow_unused=True)
        self.reached |= {name for name, each in zip(self._names, found, strict=True) if each is not None}
        return [torch.zeros_like(own) if each is None else each for own, each in zip(self._values, found, strict=True)]


def _second_gradients(along: Tensor, wanted: list[Tensor]) -> tuple[Tensor, ...]:
    try:
        return torch.autograd.grad(along, wanted, retain_graph=True, materialize_grads=True)
    except RuntimeError as error:  # an operation of the network may have one derivative only
        if "derivative" not in str(error) and "differentiate" not in str(error):
            raise
        raise ShapPruneError(
            f"the network has no second derivative ({first_line(error)}); take Hessian 'fisher', 'batch' or 'none'"
        ) from error


def _from_the_left(gradient: Tensor, weight: Tensor, axis: int) -> Tensor:
    """G G' W of the gradients and numbers of a parameter as matrices of rows, with the smaller product first."""
    if not weight.dim():
        return gradient * gradient * weight
    turned = weight.movedim(axis, 0)
    G, W = gradient.movedim(axis, 0).reshape(len(turned), -1), turned.reshape(len(turned), -1)
    product = (G @ G.T) @ W if G.shape[0] <= G.shape[1] else G @ (G.T @ W)
    return product.view(turned.shape).movedim(0, axis)
