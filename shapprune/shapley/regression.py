"""Shapley values by weighted least squares of the payoff on which units are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from shapprune.core.errors import ShapPruneError
from shapprune.core.progress import track
from shapprune.game.protocol import Game
from shapprune.shapley.criterion import Estimate, criterion
from shapprune.shapley.designs import Design, every_coalition, random_coalitions
from shapprune.shapley.draws import SHARED, generator
from shapprune.shapley.least_squares import Ends, Penalty, Sums, fit
from shapprune.shapley.unfinished import Unfinished

_CHUNK = 256  # coalitions at a time, fewer if examples and units are many
_NUMBERS = 2**26  # in the masks of one chunk
_GROUPS = 10  # of draws, left out in turn for the standard error
_BYTES = 2**28  # in the sums of the examples that are solved together


@criterion(
    "regression",
    limits={"coalitions": {"minimum": 1}, "l1": {"minimum": 0}, "l2": {"minimum": 0}},
    shapley=True,
    walks=True,
)
def regression(
    game: Game,
    coalitions: int = 512,
    sampling: Literal["uniform", "kernel", "leverage"] = "leverage",
    weighting: Literal["kernel", "none"] = "kernel",
    constrained: bool = True,
    paired: bool = True,
    shared: bool = False,
    l1: float = 0.0,
    l2: float = 0.0,
    seed: int = 0,
    checkpoint: Path | None = None,
) -> Estimate:
    """Shapley value by regression of the payoff on the units kept (Lundberg and Lee 2017; Musco and Witter 2025).

    For each example it minimises, over the values phi and the intercept a,

        1 / (2 W) sum_S w_S (v(S) - a - sum_{i in S} phi_i)^2 + l1 sum_i |phi_i| + l2 / 2 sum_i phi_i^2

    where S runs over the drawn coalitions (never the empty or the whole), w_S are their weights and W is the sum of
    these. With all coalitions, kernel weights, the constraint and no penalty, phi are the exact Shapley values. Without
    the constraint all values of an example are off by the same number, so the order by the mean stays.

    The standard errors come from a jackknife over 10 groups of draws. They do not contain the bias of penalties, nor
    that of fewer coalitions (pairs, if paired) than units, which pulls the values towards each other. With about as
    many coalitions as units the values may be far off.

    Args:
        game: the layer.
        coalitions: random coalitions for each example, all if they suffice. A pair counts as two, an odd one is
            dropped. With 2^n - 2 or more every coalition is taken once and nothing is drawn.
        sampling: how coalitions are drawn. ``leverage``: different coalitions, as many of each size as of every other,
            or all that exist. ``uniform``: a size from 1 to n-1, then a set of that size; a repeated coalition does not
            count again. ``kernel``: a size s in proportion to 1 / (s (n-s)), then a set; every draw counts. Under the
            first two a set has the same chances.
        weighting: the weight of each coalition. ``kernel``: the mass of the Shapley kernel, (n-1) / (C(n, s) s (n-s)),
            over the chance that the coalition is drawn. ``none``: 1; the values then do not tend to Shapley values,
            except with ``kernel`` sampling, where the two weightings are the same.
        constrained: make the values sum to v(all) - v(none), with a = v(none). Otherwise a is free.
        paired: draw every coalition with its complement.
        shared: use the same coalitions for all examples. By default each has its own, and the errors of the examples
            average out instead of adding up.
        l1: weight of a lasso, with `constrained: false` only.
        l2: weight of a ridge. With the constraint it pulls the values towards their mean.
        seed: of the coalitions; see `shapprune.score`.
        checkpoint: see `shapprune.score`.

    Returns:
        UnitScores with values float64 [N, n]. The cost is an evaluation a coalition, and two for both ends with the
        constraint. In a layer with one unit the value is v(all) - v(none).

    Raises:
        ShapPruneError: an option out of bounds, a single coalition where pairs are drawn, or l1 with the constraint.

    Source: Lundberg and Lee 2017 (kernel), Covert and Lee 2021 (pairs), Musco and Witter 2025 (leverage). The
    regression of Adamczewski et al. 2024 is ``sampling="uniform", weighting="none", constrained=False, paired=False,
    shared=True``.

    Examples:
        >>> import torch, shapprune
        >>> network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
        >>> game = shapprune.LayerGame(network, "0", torch.rand(5, 3), torch.tensor([0, 1, 0, 1, 1]))
        >>> few = shapprune.shapley.regression(game, coalitions=8)
        >>> few.evaluations
        10.0
        >>> every = shapprune.shapley.regression(game, coalitions=14)  # all but the empty and the whole
        >>> torch.allclose(every.values, shapprune.shapley.exact(game).values, atol=1e-6)
        True
    """
    if paired and coalitions < 2:
        raise ShapPruneError(f"coalitions = {coalitions}, at least 2 are needed where they are paired")
    if l1 > 0 and constrained:
        raise ShapPruneError(f"l1 = {l1} needs constrained: false, a lasso does not keep the sum of the values")
    n = game.units
    ends = None
    if constrained or n == 1:  # always valued, so that the cost is the same after an interruption
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
    solve = _fit_shared if shared or design.packed is None else _fit_own
    values, groups = (each.to(game.device) for each in solve(design, ends, Penalty(l1, l2), unfinished))
    return Estimate(values, None if design.packed is None else groups.float(), unfinished=unfinished)


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
    """Values and groups of draws where each example has coalitions of its own, [N, n] and [G, N, n].

    The sums of an example take n^2 numbers for each group. Coalitions and payoffs take n/8 + 8 bytes for each coalition
    of each example, so these are kept, and the sums are made for a few examples at a time.
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
    """The number of groups of draws that are left out in turn."""
    return 0 if design.packed is None or design.draws == 1 else min(_GROUPS, design.draws)


def _parts(design: Design, first: int, numbers: int) -> list[slice]:
    """Divide the draws from ``first`` on into parts that fit in memory; a coalition takes ``numbers`` numbers."""
    step = max(1, min(_CHUNK, _NUMBERS // numbers) // design.rows)
    return [slice(start, min(start + step, design.draws)) for start in range(first, design.draws, step)]


def _rows(design: Design, draws: slice) -> slice:
    """The places of the coalitions of some draws."""
    return slice(draws.start * design.rows, draws.stop * design.rows)


def _place(design: Design, draws: slice) -> str:
    return f"coalition {draws.stop * design.rows} of {design.draws * design.rows}"


def _add(sums: Sums, design: Design, kept: np.ndarray, draws: slice, which: slice, payoffs: Tensor) -> None:
    """Add the payoffs of coalitions, [M, E, rows], to the sums."""
    weights, spreads = (torch.from_numpy(each) for each in design.counts(kept, draws, which))
    numbers = torch.arange(draws.start, draws.stop).repeat_interleave(design.rows)
    sums.add(torch.from_numpy(kept), weights, spreads, numbers, payoffs.double().cpu())
