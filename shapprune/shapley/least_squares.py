"""Least squares from sums over coalitions: many small problems at once, and the spread of their solutions."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

_RIDGE = 1e-8  # as a share of the mean of the diagonal
_ROUNDS = 4  # of iterated regularisation
_EXACT = 1e-7  # how well the conditions of a lasso are met, as a share of the largest slope
_MOST_STEPS = 5_000  # of a lasso
_BETWEEN_TESTS = 20  # steps of a lasso between two tests of its conditions


class Ends(NamedTuple):
    """The constraint, float64 [M, E, 1] each: v(none), and v(all) - v(none), which the coefficients sum to."""

    empty: Tensor
    gain: Tensor


class Penalty(NamedTuple):
    """The penalty l1 sum |phi_i| + l2/2 sum phi_i^2."""

    l1: float
    l2: float


class Sums:
    """Sums over weighted coalitions: all that least squares need.

    There are M sets of coalitions with E games each. If every example has coalitions of its own, M = N and E = 1; if
    all share them, M = 1 and E = N. Masks have one unit more, the intercept, which is always kept.

    Args:
        units: n.
        sets: M.
        games: E.
        groups: G, number of groups of draws that are left out in turn; 0 if nothing is drawn.

    Attributes:
        products: weighted products of the masks, float64 [1 + G, M, n+1, n+1]. Place 1 + g has those of group g times
            their spread, place 0 the rest.
        payoffs: weighted products of masks and payoffs, float64 [1 + G, M, E, n+1], divided likewise.
    """

    def __init__(self, units: int, sets: int, games: int, groups: int):
        self.products = torch.zeros(1 + groups, sets, units + 1, units + 1, dtype=torch.float64)
        self.payoffs = torch.zeros(1 + groups, sets, games, units + 1, dtype=torch.float64)

    def add(self, kept: Tensor, weights: Tensor, spreads: Tensor, draws: Tensor, payoffs: Tensor) -> None:
        """Add some coalitions.

        Args:
            kept: their masks, bool [M, rows, n].
            weights: float64 [M, rows].
            spreads: float64 [M, rows].
            draws: the number of the draw of each coalition, int [rows], which decides its group.
            payoffs: float64 [M, E, rows].
        """
        groups = len(self.products) - 1
        if not groups:
            spreads = torch.zeros_like(spreads)
        parts = [((spreads < 1).any(0), 1 - spreads), *((draws % groups == group, spreads) for group in range(groups))]
        for part, (some, share) in enumerate(parts):
            rows = torch.ones(len(kept), int(some.sum()), kept.shape[2] + 1, dtype=torch.float64)
            rows[..., :-1] = kept[:, some]
            weighted = rows * (weights * share)[:, some, None]
            self.products[part] += weighted.mT @ rows
            self.payoffs[part] += payoffs[..., some] @ weighted

    def replicates(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The sums without each group of draws, rescaled to the weight of all; none for fewer than two groups.

        If a share f of all coalitions of a size is drawn, their error is sqrt(1 - f) of that of independent draws. So
        only that part (the spread) is left out (Rao and Wu 1988).
        """
        groups = len(self.products) - 1
        if groups < 2:
            return
        products, payoffs = self.products.sum(0), self.payoffs.sum(0)
        rest = self.products[0], self.payoffs[0]
        for group in range(1, groups + 1):
            yield (
                products + (products - rest[0] - groups * self.products[group]) / (groups - 1),
                payoffs + (payoffs - rest[1] - groups * self.payoffs[group]) / (groups - 1),
            )


def fit(sums: Sums, ends: Ends | None, penalty: Penalty) -> tuple[Tensor, Tensor]:
    """The coefficients of units, float64 [M, E, n], and those of groups of draws, [G, M, E, n].

    Each problem is to minimise, over the coefficients phi and the intercept a,

        1 / (2 W) sum_S w_S (v(S) - a - sum_{i in S} phi_i)^2 + l1 sum_i |phi_i| + l2 / 2 sum_i phi_i^2

    with W the sum of the weights w_S. With ends, a = v(none) and the coefficients sum to v(all) - v(none). Without, a
    is free and not penalised. Of several solutions the one with the least sum of squares is returned (l1 = 0).

    The coefficients of groups are the jackknife's pseudo-values, G phi - (G-1) phi_without, shifted so that their mean
    is phi.

    Args:
        sums: of the coalitions.
        ends: the constraint; None for none.
        penalty: the penalty; l1 must be 0 with ends.
    """
    values = _solve(sums.products.sum(0), sums.payoffs.sum(0), ends, penalty)
    without = [_solve(*each, ends, penalty) for each in sums.replicates()]
    if not without:
        return values, values[None]
    left = torch.stack(without)
    return values, values + (len(left) - 1) * (left.mean(0) - left)


def _solve(products: Tensor, payoffs: Tensor, ends: Ends | None, penalty: Penalty) -> Tensor:
    """Solve the problems with these sums, [M, E, n]."""
    total = products[:, -1:, -1:].clamp(min=torch.finfo(torch.float64).tiny)
    products, payoffs = products / total, payoffs / total
    gram, shares, slopes = products[:, :-1, :-1], products[:, -1:, :-1], payoffs[..., :-1]
    if ends is None:
        gram = gram - shares.mT * shares
        slopes = slopes - payoffs[..., -1:] * shares
        return _lasso(gram, slopes, penalty) if penalty.l1 else _minimum(gram, slopes, penalty.l2)
    # phi = gain / n + z, where z sums to 0; everything is projected on the plane of such vectors.
    each = ends.gain / gram.shape[-1]
    slopes = slopes - ends.empty * shares - each * gram.sum(1, keepdim=True)
    gram = gram - gram.mean(1, keepdim=True)
    gram = gram - gram.mean(2, keepdim=True)
    z = _minimum(gram, slopes - slopes.mean(2, keepdim=True), penalty.l2)
    return each + z - z.mean(2, keepdim=True)  # rounding may leave the plane


def _minimum(gram: Tensor, slopes: Tensor, l2: float) -> Tensor:
    """The smallest z with (gram + l2) z = slopes, to about 1e-6 if the matrix lacks rank.

    Iterated Tikhonov regularisation: a small ridge makes every matrix regular, and solving again for the residual
    removes the ridge's bias. It takes a tenth of the time of a factorisation that reveals the rank.
    """
    unit = torch.eye(gram.shape[-1], dtype=gram.dtype)
    gram = gram + l2 * unit
    ridge = (_RIDGE * gram.diagonal(dim1=1, dim2=2).mean(1)).clamp(min=torch.finfo(gram.dtype).tiny)
    factor = torch.linalg.cholesky(gram + ridge[:, None, None] * unit)
    z = torch.zeros_like(slopes)
    for _ in range(_ROUNDS):
        z = z + torch.cholesky_solve((slopes - z @ gram).mT, factor).mT
    return z


def _lasso(gram: Tensor, slopes: Tensor, penalty: Penalty) -> Tensor:
    """Minimise z gram z / 2 - slopes z + l1 sum |z| + l2 / 2 sum z^2 by accelerated proximal gradients with restarts.

    It stops when the subgradient at z is within 1e-7 of 0, as a share of the largest slope.

    Source: Beck and Teboulle 2009; O'Donoghue and Candes 2015.
    """
    l1, l2 = penalty
    steepest = torch.linalg.eigvalsh(gram)[:, -1, None, None] + l2
    step = 1 / steepest.clamp(min=torch.finfo(gram.dtype).tiny)
    limit = _EXACT * slopes.abs().amax(2)
    z = ahead = torch.zeros_like(slopes)
    momentum = torch.ones_like(slopes[..., :1])
    for count in range(_MOST_STEPS):
        if count % _BETWEEN_TESTS == 0:
            left = slopes - z @ gram - l2 * z
            wrong = torch.where(z != 0, (left - l1 * z.sign()).abs(), (left.abs() - l1).clamp(min=0))
            if (wrong.amax(2) <= limit).all():
                return z
        moved = ahead + step * (slopes - ahead @ gram - l2 * ahead)
        new = moved.sign() * (moved.abs() - step * l1).clamp(min=0)
        uphill = ((ahead - new) * (new - z)).sum(2, keepdim=True) > 0
        momentum = torch.where(uphill, 1.0, momentum)
        after = (1 + (1 + 4 * momentum**2).sqrt()) / 2
        ahead = new + (momentum - 1) / after * (new - z)
        z, momentum = new, after
    warnings.warn(
        f"the lasso with l1 = {l1:g} is off by {float((wrong.amax(2) / limit).max()):.1g} times what it should after"
        f" {_MOST_STEPS} steps; larger penalties or more coalitions settle it",
        stacklevel=2,
    )
    return z
