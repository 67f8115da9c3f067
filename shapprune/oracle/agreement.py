"""How near estimated scores of units come to the true ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


def spearman(one: ArrayLike, other: ArrayLike) -> float:
    """Spearman's rank correlation of two scores [n]; nan where one of them is constant."""
    return _correlation(stats.spearmanr, one, other)


def kendall(one: ArrayLike, other: ArrayLike) -> float:
    """Kendall's rank correlation (tau-b) of two scores [n]; nan where one of them is constant."""
    return _correlation(stats.kendalltau, one, other)


def mse_ratio(scores: ArrayLike, truth: ArrayLike) -> float:
    """Mean squared error of scores [n] over the variance of the true ones; 1 = no better than their mean.

    It is nan where all true scores are equal.
    """
    scores, truth = np.asarray(scores, dtype=float), np.asarray(truth, dtype=float)
    variance = float(truth.var())
    return float(np.mean((scores - truth) ** 2)) / variance if variance else float("nan")


def bottom_overlap(scores: ArrayLike, truth: ArrayLike, share: float = 0.25) -> float:
    """Share of the lowest units in common, of two scores [n]; of equal scores the lower index counts as lower.

    Args:
        scores: one.
        truth: the other.
        share: how many are lowest, at least one unit.
    """
    low = max(1, int(len(np.asarray(truth)) * share))
    lowest, true = (set(np.argsort(np.asarray(each), kind="stable")[:low].tolist()) for each in (scores, truth))
    return len(lowest & true) / low


def _correlation(of: Callable[..., Any], one: ArrayLike, other: ArrayLike) -> float:
    one, other = np.asarray(one, dtype=float), np.asarray(other, dtype=float)
    return float(of(one, other).statistic) if np.ptp(one) and np.ptp(other) else float("nan")
