"""Oracle sets: the best sets of units to remove, of every size, and how well removal orders agree with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from scipy.optimize import linear_sum_assignment

from shapprune.core.errors import ShapPruneError
from shapprune.oracle.values import units_of
from shapprune.shapley.enumeration import kept_units

# Values that differ by less than this share of their range count as equal: a network computes with about 7 digits.
TIE = 1e-6


def best_coalitions(table: np.ndarray) -> list[np.ndarray]:
    """The best coalitions of every size, with all ties.

    Args:
        table: coalition table, float [2^n].

    Returns:
        ``best[s]``, s = 0 ... n: the indices in the table of the best coalitions of n - s units, in increasing order.
        Values that differ by less than a millionth of the range of the table are ties.
    """
    n = units_of(table)
    table = np.asarray(table, dtype=float)
    size = np.bitwise_count(np.arange(len(table), dtype=np.uint32))
    slack = TIE * float(np.ptp(table))
    best = []
    for s in range(n + 1):
        candidates = np.flatnonzero(size == n - s)
        values = table[candidates]
        best.append(candidates[values >= values.max() - slack])
    return best


def oracle_sets(table: np.ndarray) -> list[tuple[int, ...]]:
    """The sets of units whose joint removal costs least.

    Args:
        table: coalition table, float [2^n].

    Returns:
        ``sets[s]``, s = 0 ... n: the s units whose removal leaves the best coalition of n - s units, in increasing
        order. Of ties it is the set whose kept coalition has the lowest index; `best_coalitions` has all of them.

    Examples:
        >>> import numpy as np
        >>> from shapprune import oracle
        >>> oracle.oracle_sets(np.array([0.0, 1.0, 3.0, 4.0]))  # unit 0 is worth 1, unit 1 is worth 3
        [(), (0,), (0, 1)]
    """
    n = units_of(table)
    return [removed_units(int(best[0]), n) for best in best_coalitions(table)]


def oracle_rank(table: np.ndarray) -> np.ndarray:
    """The removal order that agrees most with the oracle sets of all sizes, int [n]; the first unit leaves first.

    Oracle sets need not be nested, so there may be no order that agrees with all of them. This one maximises the sum
    over the sizes s of the number of units that its first s share with the oracle set of size s; of several equally
    good sets their mean counts. It is the exact solution of an assignment of units to places.

    Args:
        table: coalition table, float [2^n].

    Source: named after the Oracle rank of Adamczewski et al. 2024. How that one is made was not available; this
    construction is this project's.
    """
    n = units_of(table)
    # Gain of a unit at place p: the sum over all sizes above p of the share of oracle sets that hold it.
    shares = np.array([1 - kept_units(best, n).mean(0) for best in best_coalitions(table)])
    gain = np.cumsum(shares[:0:-1], axis=0)[::-1]  # [places, units]
    places, units = linear_sum_assignment(gain, maximize=True)
    return units[np.argsort(places)]


def greedy_order(table: np.ndarray) -> np.ndarray:
    """The removal order that takes at every step the unit whose removal costs least, int [n].

    Args:
        table: coalition table, float [2^n]. Of units that cost the same the one of the lowest index leaves.
    """
    left, order = len(table) - 1, []
    for _ in range(units_of(table)):
        there = [unit for unit in range(units_of(table)) if left >> unit & 1]
        order.append(max(there, key=lambda unit: table[left - (1 << unit)]))
        left -= 1 << order[-1]
    return np.array(order)


@dataclass(frozen=True)
class Overlap:
    """How well a removal order agrees with the oracle sets of one size.

    Attributes:
        size: how many units are removed, s.
        ties: how many oracle sets of that size there are; each overlap is with the one that shares most units.
        overlap_low: share of the first s units of the order that are in the best removal set of size s.
        overlap_high: share of the last s units of the order that are in the best kept set of size s.
        cumulative_overlap: number of units that the first r units share with the oracle set of size r, summed over
            r = 1 ... s and divided by 1 + ... + s (Adamczewski et al. 2024).
        gap: value of the best coalition of n - s units minus that of the order's; 0 = as good as the oracle.
    """

    size: int
    ties: int
    overlap_low: float
    overlap_high: float
    cumulative_overlap: float
    gap: float


def overlap(table: np.ndarray, order: Sequence[int]) -> list[Overlap]:
    """Compare a removal order with the oracle sets of every size from 1 to n - 1.

    Args:
        table: coalition table, float [2^n].
        order: the units from the first to leave to the last, int [n].

    Raises:
        ShapPruneError: the order does not hold each unit once.

    Examples:
        >>> import numpy as np
        >>> from shapprune import oracle
        >>> table = np.array([0.0, 1.0, 3.0, 4.0])  # unit 0 is worth 1, unit 1 is worth 3
        >>> [(each.overlap_low, each.gap) for each in oracle.overlap(table, [1, 0])]
        [(0.0, 2.0)]
    """
    n = units_of(table)
    left = left_by(order, n)
    best = best_coalitions(table)
    everything = 2**n - 1
    common = [0] + [_most_common(everything - left[s], everything - best[s]) for s in range(1, n)]
    cumulative = list(accumulate(common))
    return [
        Overlap(
            size=s,
            ties=len(best[s]),
            overlap_low=common[s] / s,
            overlap_high=_most_common(left[n - s], best[n - s]) / s,
            cumulative_overlap=cumulative[s] / (s * (s + 1) / 2),
            gap=float(table[best[s]].max() - table[left[s]]),
        )
        for s in range(1, n)
    ]


def left_by(order: Sequence[int], units: int) -> np.ndarray:
    """The coalitions along a removal order, as indices in a table, int [n + 1]; the first is the whole layer.

    Args:
        order: the units from the first to leave to the last, int [n].
        units: number of units, n.

    Raises:
        ShapPruneError: the order does not hold each unit once.
    """
    order = [int(unit) for unit in order]
    if sorted(order) != list(range(units)):
        raise ShapPruneError(f"{order} is no removal order of the table's {units} units")
    return 2**units - 1 - np.concatenate([[0], np.cumsum([1 << unit for unit in order])])


def removed_units(coalition: int, units: int) -> tuple[int, ...]:
    """The units that are not in the coalition of an index in a table, in increasing order."""
    return tuple(unit for unit in range(units) if not coalition >> unit & 1)


def _most_common(one: int | np.integer, others: np.ndarray) -> int:
    """The largest number of units that a set shares with one of others; sets are given by their indices."""
    return int(np.bitwise_count(others & one).max())
