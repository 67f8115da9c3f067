"""Ridge regression whose strength is chosen by leaving images out."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

# Strengths, in units of the mean eigenvalue: from nearly none to weights that hardly change.
STRENGTHS = tuple(10.0**power for power in range(-7, 4))
# Parts that images are split into; each is left out once.
FOLDS = 5


def fit_ridge(inputs: Tensor, targets: Tensor, intercept: bool) -> tuple[Tensor, Tensor] | None:
    """Fit targets by inputs with the strength that is best for images left out.

    Args:
        inputs: [N, P, features] of N images at P positions.
        targets: [N, P, units].
        intercept: whether there is one; it is not shrunk.

    Returns:
        The weights, float64 [features, units], and the intercepts, [units]; None if 0 is better for images left out. A
        single image cannot be left out, and gets the strength in the middle.

    Examples:
        >>> import torch
        >>> from shapprune.pruning.ridge import fit_ridge
        >>> inputs = torch.arange(12.0).reshape(4, 3, 1)
        >>> weights, intercepts = fit_ridge(inputs, 2 * inputs + 1, intercept=True)
        >>> round(weights.item(), 3), round(intercepts.item(), 3)
        (2.0, 1.0)
    """
    axes = principal_axes(inputs) if inputs.shape[0] * inputs.shape[1] < inputs.shape[2] else None
    rows = inputs.double() if axes is None else inputs.double() @ axes
    parts = [_Sums.of(rows[fold::FOLDS], targets[fold::FOLDS].double()) for fold in range(min(FOLDS, len(rows)))]
    whole = functools.reduce(_Sums.joined, parts)
    best = STRENGTHS[len(STRENGTHS) // 2]
    if len(parts) > 1:
        errors = torch.zeros(len(STRENGTHS), dtype=torch.float64)
        for part in parts:
            fit = _Fit(whole.without(part), intercept, inputs.shape[2])
            errors += torch.tensor([part.error(*fit.solve(strength)) for strength in STRENGTHS])
        if float(errors.min()) >= float(whole.squares):
            return None
        best = STRENGTHS[int(errors.argmin())]
    weights, intercepts = _Fit(whole, intercept, inputs.shape[2]).solve(best)
    return weights if axes is None else axes @ weights, intercepts


def principal_axes(inputs: Tensor) -> Tensor:
    """The directions in which a few rows, [N, P, features], spread: float64 [features, N x P].

    A ridge regression is the same in these axes, and has fewer features.
    """
    return torch.linalg.qr(inputs.double().flatten(0, 1).mT).Q


@dataclass(frozen=True)
class _Sums:
    """Sums over rows x and targets y.

    Attributes:
        gram: of x x', [features, features].
        cross: of x y', [features, units].
        inputs: of x, [features].
        targets: of y, [units].
        squares: of all y^2.
        count: of rows.
    """

    gram: Tensor
    cross: Tensor
    inputs: Tensor
    targets: Tensor
    squares: Tensor
    count: int

    @classmethod
    def of(cls, inputs: Tensor, targets: Tensor) -> _Sums:
        x, y = inputs.flatten(0, 1), targets.flatten(0, 1)
        return cls(x.mT @ x, x.mT @ y, x.sum(0), y.sum(0), y.square().sum(), len(x))

    def without(self, part: _Sums) -> _Sums:
        """The sums over the other rows."""
        return self._by(operator.sub, part)

    def joined(self, part: _Sums) -> _Sums:
        """The sums over the rows of both."""
        return self._by(operator.add, part)

    def _by(self, operation: Callable[[Any, Any], Any], part: _Sums) -> _Sums:
        names = [each.name for each in fields(self)]
        return _Sums(*(operation(getattr(self, name), getattr(part, name)) for name in names))

    def error(self, weights: Tensor, intercepts: Tensor) -> float:
        """The sum of squares of y - x' weights - intercepts."""
        fitted = (weights * (self.gram @ weights)).sum() + self.count * intercepts.square().sum()
        fitted = fitted + 2 * intercepts @ (weights.mT @ self.inputs)
        return float(self.squares - 2 * (weights * self.cross).sum() - 2 * intercepts @ self.targets + fitted)


class _Fit:
    """Ridge regressions of all strengths on the same rows."""

    def __init__(self, sums: _Sums, intercept: bool, features: int):
        self._center = sums.inputs / sums.count * intercept
        self._shift = sums.targets / sums.count * intercept
        gram = sums.gram - sums.count * torch.outer(self._center, self._center)
        self._eigenvalues, self._vectors = torch.linalg.eigh(gram)
        # Beside the smallest ridge, a rounding error in place of a zero would count.
        self._eigenvalues[self._eigenvalues < 1e-12 * self._eigenvalues[-1]] = 0
        self._cross = self._vectors.mT @ (sums.cross - sums.count * torch.outer(self._center, self._shift))
        self._unit = float(self._eigenvalues.sum()) / features or 1.0  # all inputs may be the same

    def solve(self, strength: float) -> tuple[Tensor, Tensor]:
        """The weights, [features, units], and the intercepts, [units]."""
        weights = self._vectors @ (self._cross / (self._eigenvalues + strength * self._unit)[:, None])
        return weights, self._shift - self._center @ weights
