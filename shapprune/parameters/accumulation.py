"""Scores of batches, added up to one: a plain mean, or one in which later batches count more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from shapprune.core.errors import ShapPruneError

SIGNS = {"corrected": 0.5, "paper": -0.5}  # what theta (H theta) is multiplied with
ABSOLUTES = ("none", "batch", "sum")


class Accumulated:
    """A mean of tensors over batches.

    Args:
        alpha: weight of a batch in an exponentially weighted mean, in (0, 1); None for the mean over all examples.
        unbiased: whether the former is divided by 1 - (1 - alpha)^batches, the sum of its weights.

    Raises:
        ShapPruneError: an ``alpha`` outside (0, 1).

    Examples:
        >>> import torch
        >>> from shapprune.parameters.accumulation import Accumulated
        >>> mean, weighted = Accumulated(), Accumulated(alpha=0.25, unbiased=False)
        >>> for value, examples in ((4.0, 3), (8.0, 1)):
        ...     mean.add({"w": torch.tensor(value)}, examples)
        ...     weighted.add({"w": torch.tensor(value)}, examples)
        >>> mean.result()["w"], weighted.result()["w"]  # (3 * 4 + 8) / 4, and .75 * .25 * 4 + .25 * 8
        (tensor(5.), tensor(2.7500))

    Source: Algorithm 2 of Chu et al. 2025; the correction is that of Adam (Kingma and Ba 2015).
    """

    def __init__(self, alpha: float | None = None, unbiased: bool = True):
        if alpha is not None and not 0 < alpha < 1:
            raise ShapPruneError(f"alpha {alpha} is not strictly between 0 and 1")
        self._alpha, self._unbiased = alpha, unbiased
        self._totals: dict[str, Tensor] = {}
        self._weight = 0.0

    def add(self, values: Mapping[str, Tensor], examples: int) -> None:
        """Add the values of a batch of so many examples."""
        keep, gain = (1.0, float(examples)) if self._alpha is None else (1 - self._alpha, self._alpha)
        for name, value in values.items():
            if name not in self._totals:  # sums of half-precision numbers are kept in single precision
                self._totals[name] = torch.zeros_like(value, dtype=torch.promote_types(value.dtype, torch.float32))
            self._totals[name].mul_(keep).add_(value, alpha=gain)
        self._weight = keep * self._weight + gain

    def result(self) -> dict[str, Tensor]:
        """The mean; empty if nothing was added."""
        whole = self._weight if self._alpha is None or self._unbiased else 1.0
        return {name: total / whole for name, total in self._totals.items()}

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {"totals": self._totals, "weight": self._weight}

    def restore(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Go on from what a checkpoint has kept."""
        self._totals = {name: each.to(device) for name, each in state["totals"].items()}
        self._weight = state["weight"]


class Sums:
    """The terms of first and second order of batch after batch, and their sum.

    Args:
        absolute: ``batch``: absolute values of each batch's terms are added up; ``sum``: of the mean; ``none``.
        alpha: as for `Accumulated`.
        unbiased: as there.
    """

    def __init__(self, absolute: str, alpha: float | None, unbiased: bool):
        self._absolute = absolute
        self._means = {term: Accumulated(alpha, unbiased) for term in ("first", "second", "both")}

    def add(self, first: Mapping[str, Tensor], second: Mapping[str, Tensor], examples: int) -> None:
        """Add the terms of a batch by name; ``second`` is empty where there is no second order."""
        if self._absolute == "batch":  # only then the sum of both terms has a mean of its own
            both = {name: (each + second[name] if second else each).abs() for name, each in first.items()}
            self._means["both"].add(both, examples)
            first, second = ({name: each.abs() for name, each in some.items()} for some in (first, second))
        self._means["first"].add(first, examples)
        self._means["second"].add(second, examples)

    def results(self) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
        """The means of the first order, the second order and both together."""
        first, second, both = (each.result() for each in self._means.values())
        both = both or {name: each + second[name] if second else each for name, each in first.items()}
        if self._absolute == "sum":
            first, second, both = ({name: each.abs() for name, each in some.items()} for some in (first, second, both))
        return first, second, both

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {term: each.state() for term, each in self._means.items()}

    def restore(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Go on from what a checkpoint has kept."""
        for term, each in self._means.items():
            each.restore(state[term], device)
