"""Least squares from sums over coalitions: many small problems at once, their solutions and the errors of these."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

_RIDGE = 1e-8  # of the mean of the diagonal
_ROUNDS = 4
_EXACT = 1e-7  # of the largest slope: how well the conditions of a lasso are met
_MOST_STEPS = 5_000
_BETWEEN_TESTS = 20


class Ends(NamedTuple):
    """What the values are tied to, float64 [M, E, 1] each: the worth of no unit, and what all add to it."""

    empty: Tensor
    gain: Tensor


class Penalty(NamedTuple):
    """What coefficients cost: l1 sum |phi_i| + l2/2 sum phi_i^2."""

    l1: float
    l2: float


class Sums:
    """Sums over weighted coalitions, with one more unit that is always kept: all that least squares need.

    M sets of coalitions have E games each: every example its own coalitions (M = N, E = 1), or all the same (M = 1).

    Args:
        units: n.
        sets: M.
        games: E.
        groups: G, of coalitions that are left out in turn; 0 where all are there.

    Attributes:
        products: weighted products of the masks, float64 [1 + G, M, n+1, n+1]: those of the groups, each times its
            spread, and at first what that leaves.
        payoffs: weighted products of masks and payoffs, float64 [1 + G, M, E, n+1].
    """

    def __init__(self, units: int, sets: int, games: int, groups: int):
        self.products = torch.zeros(1 + groups, sets, units + 1, units + 1, dtype=torch.float64)
        self.payoffs = torch.zeros(1 + groups, sets, games, units + 1, dtype=torch.float64)

    def add(self, kept: Tensor, weights: Tensor, spreads: Tensor, draws: Tensor, payoffs: Tensor) -> None:
        """Take in some coalitions.

        Args:
            kept: their masks, bool [M, rows, n].
            weights: float64 [M, rows].
            spreads: float64 [M, rows].
            draws: the number of the draw that each is of, int [rows]; it tells the group.
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
        """The sums without each group of draws, with what is left of it counting for it; none for fewer than two.

        Of coalitions of which a share f is drawn only sqrt(1 - f) of that change is made, as their error is that much
        smaller than that of independent draws (Rao and Wu 1988).
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

    with W the sum of the weights w_S. With ends, a is the worth of no unit and the coefficients sum to what all add to
    it; without, a is free and costs nothing. Of several solutions it is the one with the least sum of squares (l1 = 0).

    Those of groups are pseudo-values of the jackknife, G phi - (G-1) phi_without, less what their mean is off phi.

    Args:
        sums: of the coalitions.
        ends: what the coefficients are tied to; None where they are free.
        penalty: what they cost; l1 must be 0 with ends.
    """
    values = _solve(sums.products.sum(0), sums.payoffs.sum(0), ends, penalty)
    without = [_solve(*each, ends, penalty) for each in sums.replicates()]
    if not without:
        return values, values[None]
    left = torch.stack(without)
    return values, values + (len(left) - 1) * (left.mean(0) - left)


def _solve(products: Tensor, payoffs: Tensor, ends: Ends | None, penalty: Penalty) -> Tensor:
    """The coefficients of problems of which the sums are given, [M, E, n]."""
    total = products[:, -1:, -1:].clamp(min=torch.finfo(torch.float64).tiny)
    products, payoffs = products / total, payoffs / total
    gram, shares, slopes = products[:, :-1, :-1], products[:, -1:, :-1], payoffs[..., :-1]
    if ends is None:
        gram = gram - shares.mT * shares
        slopes = slopes - payoffs[..., -1:] * shares
        return _lasso(gram, slopes, penalty) if penalty.l1 else _minimum(gram, slopes, penalty.l2)
    # phi = gain / n + z with z in the plane of vectors that sum to 0, on which everything is projected.
    each = ends.gain / gram.shape[-1]
    slopes = slopes - ends.empty * shares - each * gram.sum(1, keepdim=True)
    gram = gram - gram.mean(1, keepdim=True)
    gram = gram - gram.mean(2, keepdim=True)
    z = _minimum(gram, slopes - slopes.mean(2, keepdim=True), penalty.l2)
    return each + z - z.mean(2, keepdim=True)  # rounding may have left the plane


def _minimum(gram: Tensor, slopes: Tensor, l2: float) -> Tensor:
    """The least z with (gram + l2) z = slopes, to about 1e-6 where the matrix lacks rank.

    A small ridge makes every matrix regular, and going on with what it leaves takes its pull away again, but where no
    slope is: iterated Tikhonov regularisation, in a tenth of the time of a factorisation that tells the rank.
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

    It ends when the subgradient at z is within 1e-7 of 0, as a share of the largest slope.

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
