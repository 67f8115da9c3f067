"""Scores of units, which every criterion returns: values, their standard error and their cost."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from shapprune.core.errors import ShapPruneError

AGGREGATES = "mean, abs, mean+2std (any number of std) or a percentile such as p97.7"
CONFIDENCE = 0.95  # of the test whether a unit is undecided

Aggregate = str | Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class UnitScores:
    """Scores of the units of one layer; high = keep.

    Attributes:
        values: score of each unit for each example, float [N, n]; [1, n] if the criterion sees no examples.
        criterion: the criterion's name.
        evaluations: evaluations that it cost: coalitions valued on the scoring set; a gradient counts as 3.
        seconds: time that it took.
        draws: the values of independent groups of draws (random orders, pairs of antithetic orders, random
            coalitions), float [G, N, n]; their mean is ``values``. [G, 1, n] if only the mean over the examples was
            kept, None if nothing is drawn.
        settled: whether the draws decided which units leave at the requested ratios; None if no ratio was given.

    Examples:
        >>> import torch, shapprune
        >>> scores = shapprune.UnitScores(torch.tensor([[1.0, 0.0, 3.0], [2.0, 4.0, 3.0]]), "by hand", 0, 0)
        >>> scores.aggregate("mean").tolist(), scores.aggregate("mean+2std").tolist()
        ([1.5, 2.0, 3.0], [2.5, 6.0, 3.0])
        >>> scores.order("mean").tolist(), scores.order("mean+2std").tolist()
        ([0, 1, 2], [0, 2, 1])
    """

    values: Tensor
    criterion: str
    evaluations: float
    seconds: float
    draws: Tensor | None = None
    settled: bool | None = None

    def aggregate(self, how: Aggregate = "mean") -> Tensor:
        """Reduce the values to one score for each unit, float64 [n].

        Args:
            how: ``mean`` (the Shapley value of the mean payoff); ``mean+2std``, or another number of standard
                deviations over the examples (ddof 0, Ancona et al. 2020, section 4); ``abs`` (mean of the absolute
                values); ``p97.7``, a percentile over the examples; or a function of values [N, n] -> [n].

        Raises:
            ShapPruneError: an unknown aggregate, or a function that does not return a finite number for each unit.
        """
        return aggregate(self.values, how)

    def standard_error(self, how: Aggregate = "mean") -> Tensor:
        """Standard error of each unit's score over the draws, float64 [n].

        It is the standard deviation over the groups of draws, divided by the square root of their number. An aggregate
        other than the mean is linearised at the values. It is 0 if nothing is drawn (exact values, heuristics), and nan
        if there is a single group or the draws of single examples were not kept. For stratified draws
        (`coalition_gradient`) it is an upper bound. It does not contain the choice of the scoring images.

        Raises:
            ShapPruneError: an unknown aggregate.
        """
        if self.draws is None:
            return torch.zeros_like(self.aggregate(how))
        moved = self._moved(how)
        if moved is None:
            return torch.full_like(self.aggregate(how), torch.nan)
        return moved.std(0, correction=1) / len(moved) ** 0.5

    def order(self, how: Aggregate = "mean") -> Tensor:
        """The units from the lowest score to the highest, int [n]; ties go by index."""
        return torch.argsort(self.aggregate(how), stable=True)

    def undecided(self, ratio: float, how: Aggregate = "mean") -> Tensor:
        """Units that other draws could move across the cut, bool [n].

        Each unit is compared with the nearest one on the other side of the cut by a t-test at 95 % on the groups of
        draws. A unit is undecided if the test does not separate the two.

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
        from scipy.special import stdtrit  # it is slow to import, and few jobs need it

        limit = float(stdtrit(len(moved) - 1, (1 + CONFIDENCE) / 2))  # a quantile of Student's t
        return ~((scores - scores[other]).abs() > limit * spread)

    def _moved(self, how: Aggregate) -> Tensor | None:
        """The aggregate of each group of draws, linearised at the values, float64 [G, n]; None if unknown."""
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
    """Join the scores of parts of a scoring set, in their order.

    The result equals scoring the whole set at once, if the seed is the same and the game of each part knows the places
    of its images in the whole (``examples``).

    Args:
        parts: scores of the same layer by the same criterion.

    Raises:
        ShapPruneError: no parts, or parts that do not belong together.

    Examples:
        >>> import torch, shapprune
        >>> network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
        >>> game = shapprune.LayerGame(network, "0", torch.rand(5, 3), torch.tensor([0, 1, 0, 1, 1]))
        >>> halves = [
        ...     shapprune.LayerGame(network, "0", game.images[part], game.labels[part], examples=game.examples[part])
        ...     for part in (slice(0, 2), slice(2, 5))
        ... ]
        >>> joined = shapprune.shapley.merge([shapprune.shapley.permutation(half, seed=3) for half in halves])
        >>> torch.allclose(joined.values, shapprune.shapley.permutation(game, seed=3).values, atol=1e-6)
        True
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
    """Reduce scores of examples, [N, n], to one score for each unit, float64 [n]; see `UnitScores.aggregate`.

    Raises:
        ShapPruneError: an unknown aggregate, or a function that does not return a finite number for each unit.
    """
    values = values.double()
    if callable(how):
        scores = how(values)
        if scores.shape != values.shape[1:] or not torch.isfinite(scores).all():
            raise ShapPruneError(
                f"an aggregate must make a finite number of each unit of values {list(values.shape)}, but"
                f" {getattr(how, '__name__', how)} returns {list(scores.shape)}"
            )
        return scores
    if how == "mean":
        return values.mean(0)
    if how == "abs":
        return values.abs().mean(0)
    if match := re.fullmatch(r"mean\+(\d+(?:\.\d+)?)std", how):
        return values.mean(0) + float(match[1]) * values.std(0, correction=0)
    if (match := re.fullmatch(r"p(\d+(?:\.\d+)?)", how)) and float(match[1]) <= 100:
        return torch.quantile(values, float(match[1]) / 100, dim=0)
    raise ShapPruneError(f"unknown aggregate {how!r}; allowed: {AGGREGATES}")
