"""What every criterion returns: a score of each unit for each example, its error and its cost."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from scipy import stats
from torch import Tensor

from shapprune.core.errors import ShapPruneError
from shapprune.game.payoffs import require_finite
from shapprune.shapley.unfinished import Unfinished

AGGREGATES = "mean, abs, mean+2std (any number of std) or a percentile such as p97.7"
CONFIDENCE = 0.95

Aggregate = str | Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class UnitScores:
    """Scores of the units of one layer; high = keep.

    Attributes:
        values: score of each unit for each example, float [N, n]; [1, n] where the criterion sees no examples.
        criterion: the criterion's name.
        evaluations: coalitions valued on the scoring set; a gradient counts as 3.
        seconds: time it took.
        draws: the values in independent groups of draws (random orders, pairs of antithetic orders, random
            coalitions), float [G, N, n]; their mean is ``values``. [G, 1, n] where only the mean over the examples
            was kept, None where nothing is drawn.
        settled: whether the draws settled which units leave at the ratios asked for; None where none was asked for.
    """

    values: Tensor
    criterion: str
    evaluations: float
    seconds: float
    draws: Tensor | None = None
    settled: bool | None = None

    def aggregate(self, how: Aggregate = "mean") -> Tensor:
        """One score for each unit, float64 [n].

        Args:
            how: ``mean`` (the Shapley value of the mean payoff); ``mean+2std``, or another number of standard
                deviations over the examples (ddof 0, Ancona et al. 2020, section 4); ``abs`` (mean of the absolute
                values); ``p97.7``, a percentile over the examples; or a function of values [N, n] -> [n].

        Raises:
            ShapPruneError: an aggregate that does not exist.
        """
        return aggregate(self.values, how)

    def standard_error(self, how: Aggregate = "mean") -> Tensor:
        """Standard error of each unit's score, float64 [n]: how far it would move if the draws were repeated.

        It is the spread of the groups of draws over the square root of their number; an aggregate other than the mean
        is linearised at the values. 0 where nothing is drawn (exact values, heuristics); nan where a single group
        tells nothing of its spread, or the draws of single examples were not kept. For stratified draws
        (`coalition_gradient`) it is an upper bound. The scoring images are taken as they are: that others would give
        other scores is not in it.

        Raises:
            ShapPruneError: an aggregate that does not exist.
        """
        if self.draws is None:
            return torch.zeros_like(self.aggregate(how))
        moved = self._moved(how)
        if moved is None:
            return torch.full_like(self.aggregate(how), torch.nan)
        return moved.std(0, correction=1) / len(moved) ** 0.5

    def order(self, how: Aggregate = "mean") -> Tensor:
        """The units from the lowest score to the highest, int [n]; of equal scores the lower index first."""
        return torch.argsort(self.aggregate(how), stable=True)

    def undecided(self, ratio: float, how: Aggregate = "mean") -> Tensor:
        """Units whose side of the cut could change if the draws were repeated, bool [n].

        Each unit is compared with the nearest one on the other side of the cut, by the spread of their difference over
        the groups of draws: undecided is what a t-test at 95 % does not tell apart.

        Args:
            ratio: share of the units that is removed, rounded down to whole units.
            how: the aggregate that orders them.

        Raises:
            ShapPruneError: a ratio outside (0, 1).
        """
        if not 0 < ratio < 1:
            raise ShapPruneError(f"ratio {ratio} is not strictly between 0 and 1")
        scores, order = self.aggregate(how), self.order(how)
        cut = int(len(scores) * ratio)
        if self.draws is None or cut == 0:
            return torch.zeros(len(scores), dtype=torch.bool, device=scores.device)
        moved = self._moved(how)
        if moved is None:
            return torch.ones(len(scores), dtype=torch.bool, device=scores.device)
        other = torch.empty_like(order)  # the last to be removed, the first to be kept
        other[order[:cut]], other[order[cut:]] = order[cut], order[cut - 1]
        spread = (moved - moved[:, other]).std(0, correction=1) / len(moved) ** 0.5
        limit = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(moved) - 1))
        return ~((scores - scores[other]).abs() > limit * spread)

    def _moved(self, how: Aggregate) -> Tensor | None:
        """The aggregate of each group of draws, to first order around the values, float64 [G, n]; None if unknown."""
        draws = self.draws
        if draws is None or len(draws) < 2:
            return None
        if how == "mean":
            return draws.double().mean(1)
        if draws.shape[1] != len(self.values):
            return None
        with torch.enable_grad():
            values = self.values.double().detach().requires_grad_(True)
            (slope,) = torch.autograd.grad(aggregate(values, how).sum(), values)
        return (draws.double() * slope).sum(1)


def merge(parts: Sequence[UnitScores]) -> UnitScores:
    """Scores of a whole scoring set from those of its parts, in their order.

    With the same seed, and the images' places given to each part's `LayerGame`, it equals scoring the whole at once.

    Args:
        parts: scores of the same layer by the same criterion.

    Raises:
        ShapPruneError: no parts, or parts that do not belong together.
    """
    kinds = {(part.criterion, part.values.shape[1], None if part.draws is None else len(part.draws)) for part in parts}
    if len(kinds) != 1 or any(part.draws is not None and part.draws.shape[1] != len(part.values) for part in parts):
        raise ShapPruneError(
            f"{len(parts)} parts of {len(kinds)} kinds cannot be merged, they must be of one criterion and layer"
        )
    counts = [len(part.values) for part in parts]
    share = [count / sum(counts) for count in counts]
    return UnitScores(
        torch.cat([part.values for part in parts]),
        parts[0].criterion,
        sum(part.evaluations * each for part, each in zip(parts, share, strict=True)),
        sum(part.seconds for part in parts),
        None if parts[0].draws is None else torch.cat([part.draws for part in parts if part.draws is not None], dim=1),
    )


def aggregate(values: Tensor, how: Aggregate) -> Tensor:
    """Scores of examples [N, n] as one score for each unit, float64 [n]; see `UnitScores.aggregate`."""
    values = values.double()
    if callable(how):
        return how(values)
    if how == "mean":
        return values.mean(0)
    if how == "abs":
        return values.abs().mean(0)
    if match := re.fullmatch(r"mean\+(\d+(?:\.\d+)?)std", how):
        return values.mean(0) + float(match[1]) * values.std(0, correction=0)
    if (match := re.fullmatch(r"p(\d+(?:\.\d+)?)", how)) and float(match[1]) <= 100:
        return torch.quantile(values, float(match[1]) / 100, dim=0)
    raise ShapPruneError(f"unknown aggregate {how!r}; allowed: {AGGREGATES}")


class Estimate(NamedTuple):
    """What an estimator has found, for `scorer` to make UnitScores of.

    Attributes:
        values: as in UnitScores.
        draws: as in UnitScores.
        settled: as in UnitScores.
        unfinished: the scoring, where it is one that goes on after it was cut off.
    """

    values: Tensor
    draws: Tensor | None = None
    settled: bool | None = None
    unfinished: Unfinished | None = None


def scorer(criterion: str) -> Callable[[Callable[..., Tensor | Estimate]], Callable[..., UnitScores]]:
    """Make a function of a game, which returns values or an Estimate, return UnitScores with their cost.

    The cost of a scoring that went on from a checkpoint is that of all its parts.
    """

    def decorate(function: Callable[..., Tensor | Estimate]) -> Callable[..., UnitScores]:
        @functools.wraps(function)
        def measured(game: Any, *args: Any, **options: Any) -> UnitScores:
            evaluations, started = game.evaluations, time.perf_counter()
            result = function(game, *args, **options)
            values, draws, settled, unfinished = result if isinstance(result, Estimate) else Estimate(result)
            require_finite(values, f"{criterion} of layer {game.layer!r}")
            cost = game.evaluations - evaluations, time.perf_counter() - started
            if unfinished is not None:
                unfinished.finish()
                cost = cost[0] + unfinished.evaluations, cost[1] + unfinished.seconds
            return UnitScores(values, criterion, *cost, draws, settled)

        return measured

    return decorate
