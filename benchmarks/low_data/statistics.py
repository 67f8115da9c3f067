"""Intervals and tests for accuracies that share draws of images, test images and networks.

Sources: Demšar 2006, "Statistical comparisons of classifiers over multiple data sets" (JMLR 7); Holm 1979.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from scipy import stats

LEVEL = 0.05
_REPLICATES = 1000


class Interval(NamedTuple):
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Bootstrap:
    """Draws of calibration images and test images drawn again with replacement, each on its own.

    All arrays of as many draws, or of as many images, see the same ones drawn again: methods on a network stay paired,
    and so do networks that are tested on the same images.

    Attributes:
        replicates: how often they are drawn again.
        seed: of that.
    """

    replicates: int = _REPLICATES
    seed: int = 0

    def means(self, values: np.ndarray) -> np.ndarray:
        """The mean of each replicate, [B].

        Args:
            values: of each draw and image, [D, N]; [D, 1] where images are not known one by one.
        """
        draws, images = values.shape
        of_draws = values.astype(np.float32) @ _counts(images, self.replicates, self.seed, 0).T / images
        return (_counts(draws, self.replicates, self.seed, 1) * of_draws.T.astype(float)).sum(1) / draws

    def interval(self, blocks: Sequence[np.ndarray]) -> Interval:
        """The mean of the blocks' means, and its interval.

        Args:
            blocks: an array [D, N] each.

        Examples:
            >>> import numpy as np
            >>> from benchmarks.low_data.statistics import Bootstrap
            >>> Bootstrap().interval([np.ones((5, 100))])
            Interval(mean=1.0, low=1.0, high=1.0)
        """
        replicates = np.mean([self.means(each) for each in blocks], axis=0)
        low, high = np.quantile(replicates, (LEVEL / 2, 1 - LEVEL / 2))
        return Interval(float(np.mean([each.mean() for each in blocks])), float(low), float(high))


@cache
def _counts(size: int, replicates: int, seed: int, axis: int) -> np.ndarray:
    """How often each of ``size`` things is drawn in each replicate, float32 [B, size]."""
    random = np.random.default_rng([seed, size, axis])
    return random.multinomial(size, np.full(size, 1 / size), replicates).astype(np.float32)


def wilcoxon(differences: Sequence[float]) -> float:
    """The p-value of the signed-rank test, two-sided; differences of 0 are left out, and without others it is 1.

    Examples:
        >>> from benchmarks.low_data.statistics import wilcoxon
        >>> wilcoxon([0.1, 0.2, 0.3, 0.4, 0.5])  # 2 of 32 signs are as one-sided as these
        0.0625
    """
    found = np.asarray(differences, float)
    return float(stats.wilcoxon(found[found != 0]).pvalue) if found.any() else 1.0


def mean_ranks(scores: np.ndarray) -> np.ndarray:
    """The mean rank of each method over the blocks, [methods]; 1 is the best, ties share their ranks.

    Args:
        scores: [blocks, methods], high = good.
    """
    return np.asarray(stats.rankdata(-scores, axis=1).mean(0))


def friedman(scores: np.ndarray) -> float:
    """The p-value of Friedman's test that all methods are alike, in the form of Iman and Davenport.

    Where the order is the same in all blocks, which that form has no number for, it is the chance of that.

    Args:
        scores: [blocks, methods], high = good.
    """
    blocks, methods = scores.shape
    spread = float((mean_ranks(scores) ** 2).sum()) - methods * (methods + 1) ** 2 / 4
    chi, most = 12 * blocks / (methods * (methods + 1)) * spread, blocks * (methods - 1)
    if chi >= most * (1 - 1e-12):
        return 1 / math.factorial(methods) ** (blocks - 1)
    return float(stats.f.sf((blocks - 1) * chi / (most - chi), methods - 1, (methods - 1) * (blocks - 1)))


def critical_difference(methods: int, blocks: int, level: float = LEVEL) -> float:
    """How far mean ranks must be apart for Nemenyi's test to call two methods different.

    Examples:
        >>> from benchmarks.low_data.statistics import critical_difference
        >>> round(critical_difference(4, 14), 2)  # section 3.2.4 of Demšar 2006
        1.25
    """
    quantile = stats.studentized_range.ppf(1 - level, methods, np.inf) / 2**0.5
    return float(quantile * (methods * (methods + 1) / (6 * blocks)) ** 0.5)


def cliques(ranks: Sequence[float] | np.ndarray, difference: float) -> list[tuple[int, int]]:
    """The largest groups of methods that are not told apart, by their first and last place.

    Args:
        ranks: in rising order.
        difference: `critical_difference`.

    Examples:
        >>> from benchmarks.low_data.statistics import cliques
        >>> cliques([1.0, 1.5, 2.4, 4.0], 1.0)
        [(0, 1), (1, 2)]
    """
    ends = [
        max(last for last in range(len(ranks)) if ranks[last] - ranks[first] < difference)
        for first in range(len(ranks))
    ]
    return [(first, last) for first, last in enumerate(ends) if last > first and (first == 0 or ends[first - 1] < last)]
