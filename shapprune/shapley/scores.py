"""What every criterion returns: a score of each unit for each example, its error and its cost."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from shapprune.errors import ShapPruneError

AGGREGATES = "mean, abs, mean+2std (any number of std) or a percentile such as p97.7"


@dataclass(frozen=True)
class UnitScores:
    """Scores of the units of one layer; high = keep.

    Attributes:
        values: score of each unit for each example, float [N, n]; [1, n] where the criterion sees no examples.
        criterion: the criterion's name.
        evaluations: suffix passes of one coalition over the scoring set that it took; a gradient counts as 3.
        seconds: time it took.
        draws: mean score over the examples in each independent draw (a random order, a pair of antithetic orders, a
            random coalition), float [K, n]; None where nothing is drawn.
    """

    values: Tensor
    criterion: str
    evaluations: float
    seconds: float
    draws: Tensor | None = None

    def aggregate(self, how: str | Callable[[Tensor], Tensor] = "mean") -> Tensor:
        """One score for each unit, float64 [n].

        Args:
            how: ``mean`` (the Shapley value of the mean payoff); ``mean+2std``, or another number of standard
                deviations over the examples (ddof 0, Ancona et al. 2020, section 4); ``abs`` (mean of the absolute
                values); ``p97.7``, a percentile over the examples; or a function of values [N, n] -> [n].

        Raises:
            ShapPruneError: an aggregate that does not exist.
        """
        values = self.values.double()
        if callable(how):
            return how(values)
        if how == "mean":
            return values.mean(0)
        if how == "abs":
            return values.abs().mean(0)
        if match := re.fullmatch(r"mean\+(\d+(?:\.\d+)?)std", how):
            return values.mean(0) + float(match[1]) * values.std(0, correction=0)
        if (match := re.fullmatch(r"p(\d+(?:\.\d+)?)", how)) and float(match[1]) <= 100:
            return torch.from_numpy(np.percentile(values.cpu().numpy(), float(match[1]), axis=0)).to(values.device)
        raise ShapPruneError(f"unknown aggregate {how!r}; allowed: {AGGREGATES}")

    def standard_error(self) -> Tensor:
        """Standard error of the mean score of each unit, float64 [n]: how far it would move if the draws were repeated.

        It is the spread of the draws over the square root of their number. 0 where nothing is drawn (exact values and
        the heuristics); nan where a single draw tells nothing of its spread. For stratified draws
        (`coalition_gradient`) it is an upper bound. The scoring images are taken as they are: that others would
        give other scores is not in it.
        """
        if self.draws is None or len(self.draws) < 2:
            unknown = 0.0 if self.draws is None else torch.nan
            return torch.full((self.values.shape[1],), unknown, dtype=torch.float64, device=self.values.device)
        return self.draws.double().std(0, correction=1) / len(self.draws) ** 0.5

    def order(self, how: str | Callable[[Tensor], Tensor] = "mean") -> Tensor:
        """The units from the lowest score to the highest, int [n]; of equal scores the lower index first."""
        return torch.argsort(self.aggregate(how), stable=True)


def scorer(criterion: str) -> Callable[[Callable[..., Any]], Callable[..., UnitScores]]:
    """Make a function of a LayerGame that returns values, or (values, draws), return UnitScores with their cost."""

    def decorate(function: Callable[..., Any]) -> Callable[..., UnitScores]:
        @functools.wraps(function)
        def measured(game: Any, *args: Any, **options: Any) -> UnitScores:
            evaluations, started = game.evaluations, time.perf_counter()
            result = function(game, *args, **options)
            values, draws = result if isinstance(result, tuple) else (result, None)
            return UnitScores(values, criterion, game.evaluations - evaluations, time.perf_counter() - started, draws)

        return measured

    return decorate
