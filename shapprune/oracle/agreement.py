"""How well estimated scores of units agree with the true ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


def spearman(one: ArrayLike, other: ArrayLike) -> float:
    """Spearman's rank correlation of two scores [n]; nan if one of them is constant.

    Examples:
        >>> from shapprune.oracle.agreement import spearman
        >>> round(spearman([1, 3, 2, 4], [1, 2, 3, 4]), 6)
        0.8
    """
    return _correlation(stats.spearmanr, one, other)


def kendall(one: ArrayLike, other: ArrayLike) -> float:
    """Kendall's rank correlation (tau-b) of two scores [n]; nan if one of them is constant."""
    return _correlation(stats.kendalltau, one, other)


def mse_ratio(scores: ArrayLike, truth: ArrayLike) -> float:
    """Mean squared error of scores [n], divided by the variance of the true ones.

    1 is what the mean of the true scores reaches. It is nan if all true scores are equal.
    """
    scores, truth = np.asarray(scores, dtype=float), np.asarray(truth, dtype=float)
    variance = float(truth.var())
    return float(np.mean((scores - truth) ** 2)) / variance if variance else float("nan")


def bottom_overlap(scores: ArrayLike, truth: ArrayLike, share: float = 0.25) -> float:
    """Share of the truly lowest units that are among the lowest by the estimated scores too.

    Args:
        scores: estimated scores, [n]; of equal ones the lower index counts as lower.
        truth: true scores, [n].
        share: share of the units that count as lowest, rounded down, at least one unit.
    """
    low = max(1, int(len(np.asarray(truth)) * share))
    lowest, true = (set(np.argsort(np.asarray(each), kind="stable")[:low].tolist()) for each in (scores, truth))
    return len(lowest & true) / low


def _correlation(correlate: Callable[..., Any], one: ArrayLike, other: ArrayLike) -> float:
    one, other = np.asarray(one, dtype=float), np.asarray(other, dtype=float)
    return float(correlate(one, other).statistic) if np.ptp(one) and np.ptp(other) else float("nan")
