"""The methods that are made of this project's choices of selection, allocation, repair and distilling."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from shapprune.pruning.budget import Budget
from shapprune.pruning.maker import How
from shapprune.pruning.shrink import Pruned, Shrinker


class Shrunk:
    """`shapprune.prune` for several budgets; what they share is done when it is made.

    Args:
        model: the network.
        images: calibration images.
        seed: of all draws.
        how: choices of `shapprune.pruning.maker.How`.
    """

    def __init__(self, model: nn.Module, images: Tensor, *, seed: int, **how: Any):
        self._start(model, images, None, How(seed=seed, **how))

    def _start(self, model: nn.Module, images: Tensor, labels: Tensor | None, how: How) -> None:
        self._shrinker = Shrinker(model, images, labels, how)
        if how.allocation == "damage":
            _ = self._shrinker.damage  # measured now, so that its time counts for every budget

    def __call__(self, budget: float) -> Pruned:
        """The network with this share of its multiply-accumulates."""
        return self._shrinker.shrink(Budget(macs=budget))


class ShrunkByLabels(Shrunk):
    """The same by a criterion that looks at labels."""

    def __init__(self, model: nn.Module, images: Tensor, *, labels: Tensor, seed: int, **how: Any):
        self._start(model, images, labels, How(seed=seed, **how))
