"""Ridge regression whose strength is chosen by leaving images out."""

from __future__ import annotations

import torch
from torch import Tensor

# Strengths, in units of the mean eigenvalue: from nearly none to weights that hardly change.
STRENGTHS = tuple(10.0**power for power in range(-7, 4))
# Numbers in the matrices that are solved at a time (32 MiB as float64).
_NUMBERS = 2**22


def fit_ridge(inputs: Tensor, targets: Tensor, intercept: bool) -> tuple[Tensor, Tensor] | None:
    """Fit targets by inputs with the strength that is best for images left out.

    Args:
        inputs: [N, P, features] of N images at P positions; it may be overwritten.
        targets: [N, P, units]; it may be overwritten.
        intercept: whether there is one; it is not shrunk.

    Returns:
        The weights, [features, units], and the intercepts, [units]; None if 0 is better for images left out. A single
        image cannot be left out, and gets the strength in the middle.

    Examples:
        >>> import torch
        >>> from shapprune.pruning.ridge import fit_ridge
        >>> inputs = torch.arange(12.0, dtype=torch.double).reshape(4, 3, 1)
        >>> weights, intercepts = fit_ridge(inputs, 2 * inputs + 1, intercept=True)
        >>> round(weights.item(), 3), round(intercepts.item(), 3)
        (2.0, 1.0)
    """
    nothing = float(targets.square().sum())
    center, shift = inputs.mean((0, 1)) * intercept, targets.mean((0, 1)) * intercept
    inputs, targets = inputs.sub_(center), targets.sub_(shift)
    basis, eigenvalues = principal_axes(inputs)
    projected = basis.flatten(0, 1).mT @ targets.flatten(0, 1)
    unit = float(eigenvalues.sum()) / inputs.shape[2] or 1.0  # all inputs may be the same
    of_mean = intercept / (inputs.shape[0] * inputs.shape[1])

    def residuals(strength: float) -> Tensor:
        return targets - basis @ (projected / (eigenvalues + strength)[:, None])

    strengths = [unit * each for each in STRENGTHS]
    best = strengths[len(strengths) // 2]
    if len(inputs) > 1:
        errors = [left_out_error(basis, 1 / (eigenvalues + each), residuals(each), of_mean) for each in strengths]
        best = strengths[errors.index(min(errors))]
        if min(errors) >= nothing:
            return None
    # At the minimum of |y - X w|^2 + strength |w|^2 it is X' (y - X w) = strength w.
    change = inputs.flatten(0, 1).mT @ residuals(best).flatten(0, 1) / best
    return change, shift - center @ change


def principal_axes(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Turn rows into the axes of their Gram matrix, [N, P, r], with its eigenvalues, [r].

    The smaller of X X' and X' X is decomposed.
    """
    rows = inputs.flatten(0, 1)
    wide = len(rows) < rows.shape[1]
    eigenvalues, vectors = torch.linalg.eigh(rows @ rows.mT if wide else rows.mT @ rows)
    # Beside the smallest ridge, a rounding error in place of a zero would count.
    eigenvalues[eigenvalues < 1e-12 * eigenvalues[-1]] = 0
    basis = vectors * eigenvalues.sqrt() if wide else rows @ vectors
    return basis.reshape(*inputs.shape[:2], -1), eigenvalues


def left_out_error(basis: Tensor, shrinkage: Tensor, residuals: Tensor, of_mean: float) -> float:
    """Sum the squared errors of all images, each predicted by the fit to the others, without making these fits.

    A linear fit is y -> H y; errors of rows i that are left out together are (1 - H_ii)^-1 times their residuals.

    Args:
        basis: rows in principal axes, [N, P, r].
        shrinkage: [r]; H = basis diag(shrinkage) basis' + of_mean.
        residuals: of the fit to all, [N, P, units].
        of_mean: what an intercept adds to H.

    Source: Allen 1974, for one row at a time (https://doi.org/10.1080/00401706.1974.10489157).
    """
    one, total = torch.eye(basis.shape[1], dtype=basis.dtype, device=basis.device), 0.0
    some = max(1, _NUMBERS // one.numel())
    for rows, errors in zip(basis.split(some), residuals.split(some), strict=True):
        left_out = torch.linalg.solve(one - (rows * shrinkage) @ rows.mT - of_mean, errors)
        total += float(left_out.square().sum())
    return total
