"""Shapley values by weighted least squares of the payoff on which units are kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from shapprune.core.errors import ShapPruneError, unknown
from shapprune.core.progress import track
from shapprune.game.protocol import Game
from shapprune.shapley.designs import SAMPLINGS, WEIGHTINGS, Design, every_coalition, random_coalitions
from shapprune.shapley.draws import SHARED, generator
from shapprune.shapley.least_squares import Ends, Penalty, Sums, fit
from shapprune.shapley.scores import Estimate, scorer
from shapprune.shapley.unfinished import Unfinished

_CHUNK = 256  # coalitions at a time, fewer where there are many images and units
_NUMBERS = 2**26  # in the masks of that many
_GROUPS = 10  # of draws, left out in turn for the error
_BYTES = 2**28  # in the sums of images that are solved together


@scorer("regression")
def regression(
    game: Game,
    coalitions: int = 512,
    sampling: str = "leverage",
    weighting: str = "kernel",
    constrained: bool = True,
    paired: bool = True,
    shared: bool = False,
    l1: float = 0.0,
    l2: float = 0.0,
    seed: int = 0,
    checkpoint: Path | None = None,
) -> Estimate:
    """The coefficients of a linear regression of each example's payoff on which units are kept.

    It minimises, over the values phi and the intercept a,

        1 / (2 W) sum_S w_S (v(S) - a - sum_{i in S} phi_i)^2 + l1 sum_i |phi_i| + l2 / 2 sum_i phi_i^2

    where S goes over the drawn coalitions (never the empty or the whole), w_S are their weights and W is their sum.
    Without penalties, with all coalitions, kernel weights and constraint these are the exact Shapley values. Without
    the constraint all values of an example are off by the same number: the order by the mean payoff stays.

    The errors are those of a jackknife over 10 groups of draws. What penalties pull the values by is not in them, nor
    is that fewer coalitions than units (pairs, if paired) pull them towards each other; with about as many, values may
    be far off.

    Args:
        game: the layer.
        coalitions: how many for each example, pairs counted as two, an odd one dropped. 2^n - 2 or more: every
            coalition is taken once and nothing is drawn.
        sampling: ``leverage``: different coalitions, as many of each size as of every other, or all that there are.
            ``uniform``: a size from 1 to n-1, then a set of it; one that comes again does not count again. ``kernel``:
            sizes s in proportion to 1 / (s (n-s)), and every draw counts. Sets have the same chances under the first
            two.
        weighting: ``kernel``: the mass of the Shapley kernel, (n-1) / (C(n, s) s (n-s)), over the chance that the
            coalition is drawn; ``none``: all weights are 1, and the values do not tend to Shapley values, but under
            ``kernel`` sampling, where the two are the same.
        constrained: a = v(none), and the values sum to v(all) - v(none); else a is free.
        paired: every coalition comes with its complement.
        shared: all examples have the same coalitions; by default each has its own, and the errors of the examples
            average out instead of adding up.
        l1: weight of the lasso; needs ``constrained=False``.
        l2: weight of the ridge; with the constraint it pulls the values towards their mean.
        seed: of the coalitions; those of an example depend on seed, layer and example only.
        checkpoint: a file that is written now and then; a scoring that was cut off goes on from it, after its last
            finished batch of coalitions, and comes out the same. It is left there for the caller to delete.

    Returns:
        UnitScores with values float64 [N, n]; it costs an evaluation a coalition, and two for both ends with the
        constraint. Of a layer with one unit the value is v(all) - v(none).

    Raises:
        ShapPruneError: too few coalitions, an unknown sampling or weighting, a penalty below 0, or l1 with the
            constraint.

    Source: Lundberg and Lee 2017 (kernel), Covert and Lee 2021 (pairs), Musco and Witter 2025 (leverage); the
    regression of Adamczewski et al. 2024 is ``sampling="uniform", weighting="none", constrained=False, paired=False,
    shared=True``.
    """
    _check(coalitions, sampling, weighting, constrained, paired, l1, l2)
    n = game.units
    ends = None
    if constrained or n == 1:  # valued here, whether all coalitions are valued now or some were before
        ends = game.empty.double().cpu(), (game.full.double() - game.empty.double()).cpu()
    unfinished = Unfinished(
        checkpoint, game, "regression", coalitions, sampling, weighting, constrained, paired, shared, l1, l2, seed
    )
    if n == 1:
        assert ends is not None
        return Estimate(ends[1][:, None].to(game.device), unfinished=unfinished)
    if coalitions >= 2**n - 2:
        design = every_coalition(n, sampling, weighting)
    else:
        draws = coalitions // 2 if paired else coalitions
        randoms = [generator(seed, game.layer, each, 0) for each in ([SHARED] if shared else game.examples)]
        design = random_coalitions(n, draws, paired, sampling, weighting, randoms)
    of_all = shared or design.packed is None
    found = (_fit_shared if of_all else _fit_own)(design, ends, Penalty(l1, l2), unfinished)
    values, groups = (each.to(game.device) for each in found)
    return Estimate(values, None if design.packed is None else groups.float(), unfinished=unfinished)


def _check(
    coalitions: int, sampling: str, weighting: str, constrained: bool, paired: bool, l1: float, l2: float
) -> None:
    for what, value, allowed in (("sampling", sampling, SAMPLINGS), ("weighting", weighting, WEIGHTINGS)):
        if value not in allowed:
            raise unknown(what, value, allowed)
    if coalitions < (least := 2 if paired else 1):
        raise ShapPruneError(f"coalitions = {coalitions}, at least {least} {'are' if paired else 'is'} needed")
    for name, penalty in (("l1", l1), ("l2", l2)):
        if not penalty >= 0:
            raise ShapPruneError(f"{name} = {penalty} is below 0")
    if l1 > 0 and constrained:
        raise ShapPruneError(f"l1 = {l1} needs constrained: false, a lasso does not keep the sum of the values")


def _fit_shared(
    design: Design, ends: tuple[Tensor, Tensor] | None, penalty: Penalty, unfinished: Unfinished
) -> tuple[Tensor, Tensor]:
    """Values and groups of draws where all examples have the same coalitions, [N, n] and [G, N, n]."""
    game, saved = unfinished.game, unfinished.saved
    sums = Sums(game.units, 1, len(game), _groups(design))
    if saved:
        sums.products, sums.payoffs = saved["products"], saved["payoffs"]
    for draws in track(_parts(design, saved.get("seen", 0), game.units), f"coalitions of {game.layer}"):
        kept = design.kept(draws)
        _add(sums, design, kept, draws, slice(None), game.value(kept[0]).T[None])
        unfinished.save(_place(design, draws), products=sums.products, payoffs=sums.payoffs, seen=draws.stop)
    tied = None if ends is None else Ends(*(each[None, :, None] for each in ends))
    values, groups = fit(sums, tied, penalty)
    return values[0], groups[:, 0]


def _fit_own(
    design: Design, ends: tuple[Tensor, Tensor] | None, penalty: Penalty, unfinished: Unfinished
) -> tuple[Tensor, Tensor]:
    """The same where each example has coalitions of its own.

    The sums of an example take n^2 numbers for each group. So coalitions and payoffs are kept instead, n/8 + 8 bytes
    for each coalition of each example, and the sums are made for a few examples at a time.
    """
    game, saved, n = unfinished.game, unfinished.saved, unfinished.game.units
    payoffs = saved.get("payoffs", torch.zeros(len(game), design.draws * design.rows, dtype=torch.float64))
    for draws in track(_parts(design, saved.get("seen", 0), len(game) * n), f"coalitions of {game.layer}"):
        kept = design.kept(draws).transpose(1, 0, 2)
        payoffs[:, _rows(design, draws)] = game.value(kept).T.to(payoffs)  # on the CPU
        unfinished.save(_place(design, draws), payoffs=payoffs, seen=draws.stop)
    values, groups = [], []
    together = max(1, _BYTES // (8 * (n + 1) ** 2 * (_groups(design) + 6)))
    starts = range(0, len(game), together)
    for some in track([slice(start, start + together) for start in starts], f"regressions of {game.layer}"):
        sums = Sums(n, len(payoffs[some]), 1, _groups(design))
        for draws in _parts(design, 0, 16 * len(payoffs[some]) * n):
            kept = design.kept(draws, some)
            _add(sums, design, kept, draws, some, payoffs[some, None, _rows(design, draws)])
        tied = None if ends is None else Ends(*(each[some, None, None] for each in ends))
        fitted = fit(sums, tied, penalty)
        values.append(fitted[0][:, 0])
        groups.append(fitted[1][:, :, 0])
    return torch.cat(values), torch.cat(groups, dim=1)


def _groups(design: Design) -> int:
    """Of how many groups one is left out in turn."""
    return 0 if design.packed is None or design.draws == 1 else min(_GROUPS, design.draws)


def _parts(design: Design, first: int, numbers: int) -> list[slice]:
    """The draws from one on, in parts; ``numbers`` are what a coalition takes."""
    step = max(1, min(_CHUNK, _NUMBERS // numbers) // design.rows)
    return [slice(start, min(start + step, design.draws)) for start in range(first, design.draws, step)]


def _rows(design: Design, draws: slice) -> slice:
    """The coalitions of draws."""
    return slice(draws.start * design.rows, draws.stop * design.rows)


def _place(design: Design, draws: slice) -> str:
    return f"coalition {draws.stop * design.rows} of {design.draws * design.rows}"


def _add(sums: Sums, design: Design, kept: np.ndarray, draws: slice, which: slice, payoffs: Tensor) -> None:
    """Take in what coalitions were worth, [M, E, rows]."""
    weights, spreads = (torch.from_numpy(each) for each in design.counts(kept, draws, which))
    numbers = torch.arange(draws.start, draws.stop).repeat_interleave(design.rows)
    sums.add(torch.from_numpy(kept), weights, spreads, numbers, payoffs.double().cpu())
