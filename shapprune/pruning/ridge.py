"""Ridge regression whose strength is chosen by leaving images out."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

# Strengths, in units of the mean eigenvalue: from nearly none to weights that hardly change.
STRENGTHS = tuple(10.0**power for power in range(-7, 4))
# Parts that images are split into; each is left out once.
FOLDS = 5


def fit_ridge(
    inputs: Tensor,
    targets: Tensor,
    intercept: bool,
    originals: Tensor | None = None,
    counted: Tensor | None = None,
) -> tuple[Tensor, Tensor] | None:
    """Fit targets by inputs with the strength that is best for images left out.

    Args:
        inputs: [N, P, features] of N images at P positions.
        targets: [N, P, units].
        intercept: whether there is one; it is not shrunk.
        originals: int [N], the image that each is a copy of, as an image is left out with its copies; by default each
            is one of its own.
        counted: which positions count, bool [N, P]; by default all.

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
    images = torch.arange(len(inputs), device=inputs.device) if originals is None else originals
    images = images[:, None].expand(inputs.shape[:2])
    if counted is None:
        images, inputs, targets = images.flatten(), inputs.flatten(0, 1), targets.flatten(0, 1)
    else:
        images, inputs, targets = images[counted], inputs[counted], targets[counted]
    parts = [(images % FOLDS == fold).nonzero().flatten() for fold in range(FOLDS)]
    parts = [part for part in parts if len(part)]
    targets = targets.double()
    found = (_Few if len(inputs) < inputs.shape[1] else _Many)(inputs, targets, intercept, parts)
    best = STRENGTHS[len(STRENGTHS) // 2]
    if len(parts) > 1:
        errors = found.errors()
        if errors.min() >= targets.square().sum():
            return None
        best = STRENGTHS[int(errors.argmin())]
    return found.solve(best)


class _Many:
    """A regression on more rows than there are features: by sums over the rows of each part of the images.

    Args:
        inputs: [rows, features]; sums are float64, and so are the results.
        targets: float64 [rows, units].
        intercept: whether there is one.
        parts: the rows of each part of the images.
    """

    def __init__(self, inputs: Tensor, targets: Tensor, intercept: bool, parts: Sequence[Tensor]):
        self._parts = [_Sums.of(inputs[part].double(), targets[part]) for part in parts]
        self._whole = functools.reduce(_Sums.joined, self._parts)
        self._intercept = intercept

    def errors(self) -> Tensor:
        """The squared errors on images left out for each of `STRENGTHS`, with the others fitted."""
        found = []
        for part in self._parts:
            fit = _Fit(self._whole.without(part), self._intercept)
            found.append(torch.stack([part.error(*fit.solve(strength)) for strength in STRENGTHS]))
        return torch.stack(found).sum(0)

    def solve(self, strength: float) -> tuple[Tensor, Tensor]:
        """The weights, [features, units], and the intercepts, [units], by all images."""
        return _Fit(self._whole, self._intercept).solve(strength)


class _Few:
    """A regression on fewer rows than there are features: by the products of the rows with each other.

    What a fit without some rows does on these follows from the fit to all: with residuals r and their share H of the
    matrix that makes fitted values of targets, the errors are (1 - H)^-1 r. Arguments are as for `_Many`.
    """

    def __init__(self, inputs: Tensor, targets: Tensor, intercept: bool, parts: Sequence[Tensor]):
        self._intercept, self._features, self._parts = intercept, inputs.shape[1], parts
        inputs = inputs.double()
        self._center, self._shift = inputs.mean(0) * intercept, targets.mean(0) * intercept
        self._rows = inputs - self._center
        self._eigenvalues, self._vectors = _eigen(self._rows @ self._rows.mT)
        self._targets = self._vectors.mT @ (targets - self._shift)
        self._unit = _or_one(self._eigenvalues.sum() / self._features)

    def errors(self) -> Tensor:
        """The squared errors on images left out for each of `STRENGTHS`, with the others fitted."""
        found = []
        for part in self._parts:
            own, unit = self._vectors[part], self._unit_without(part)
            found.append(torch.stack([self._error(own, strength * unit) for strength in STRENGTHS]))
        return torch.stack(found).sum(0)

    def _error(self, own: Tensor, ridge: Tensor) -> Tensor:
        """The squared error on the images of some rows, by the vectors at these rows, with the others fitted."""
        kept = self._eigenvalues / (self._eigenvalues + ridge)
        residuals = own @ ((1 - kept)[:, None] * self._targets)
        others = torch.eye(len(own), dtype=own.dtype, device=own.device) - (own * kept) @ own.mT
        # Whether the matrix is singular is not asked: the answer would have to be waited for.
        return torch.linalg.solve_ex(others - self._intercept / len(self._rows), residuals)[0].square().sum()

    def _unit_without(self, part: Tensor) -> Tensor:
        """The mean eigenvalue of the other rows."""
        some = self._rows[part]
        squares = self._rows.square().sum() - some.square().sum()
        if self._intercept:  # their mean is taken away from them
            squares -= some.sum(0).square().sum() / (len(self._rows) - len(part))
        return _or_one(squares / self._features)

    def solve(self, strength: float) -> tuple[Tensor, Tensor]:
        """The weights, [features, units], and the intercepts, [units], by all images."""
        shares = 1 / (self._eigenvalues + strength * self._unit)
        weights = self._rows.mT @ (self._vectors @ (shares[:, None] * self._targets))
        return weights, self._shift - self._center @ weights


def _eigen(gram: Tensor) -> tuple[Tensor, Tensor]:
    """The eigenvalues and vectors of products; beside the smallest ridge, rounding in place of a zero would count."""
    eigenvalues, vectors = torch.linalg.eigh(gram)
    return eigenvalues.masked_fill(eigenvalues < 1e-12 * eigenvalues[-1], 0), vectors


def _or_one(unit: Tensor) -> Tensor:
    """A mean eigenvalue, or 1 where it is 0: all inputs may be the same."""
    return unit.masked_fill(unit == 0, 1)


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
    def of(cls, x: Tensor, y: Tensor) -> _Sums:
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

    def error(self, weights: Tensor, intercepts: Tensor) -> Tensor:
        """The sum of squares of y - x' weights - intercepts."""
        fitted = (weights * (self.gram @ weights)).sum() + self.count * intercepts.square().sum()
        fitted = fitted + 2 * intercepts @ (weights.mT @ self.inputs)
        return self.squares - 2 * (weights * self.cross).sum() - 2 * intercepts @ self.targets + fitted


class _Fit:
    """Ridge regressions of all strengths on the same rows."""

    def __init__(self, sums: _Sums, intercept: bool):
        self._center = sums.inputs / sums.count * intercept
        self._shift = sums.targets / sums.count * intercept
        gram = sums.gram - sums.count * torch.outer(self._center, self._center)
        self._eigenvalues, self._vectors = _eigen(gram)
        self._cross = self._vectors.mT @ (sums.cross - sums.count * torch.outer(self._center, self._shift))
        self._unit = _or_one(self._eigenvalues.mean())

    def solve(self, strength: float) -> tuple[Tensor, Tensor]:
        """The weights, [features, units], and the intercepts, [units]."""
        weights = self._vectors @ (self._cross / (self._eigenvalues + strength * self._unit)[:, None])
        return weights, self._shift - self._center @ weights
