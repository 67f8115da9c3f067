"""The best sets of units to remove, of every size, and how near a removal order comes to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from scipy.optimize import linear_sum_assignment

from shapprune.core.errors import ShapPruneError
from shapprune.oracle.values import units_of
from shapprune.shapley.enumeration import kept_units

# Of the range of a table's values. The network computes with about 7 digits, so what differs by less may be equal.
TIE = 1e-6


def best_coalitions(table: np.ndarray) -> list[np.ndarray]:
    """The coalitions of every size that are worth most, ties included.

    Args:
        table: coalition table, float [2^n].

    Returns:
        ``best[s]``: the indices in the table, in increasing order, of all coalitions of n - s units that are as good as
        the best of them, s = 0 ... n. Those within a millionth of the range of the table's values are.
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

    Returns:
        ``sets[s]``: the s units that leave the best coalition of n - s, in increasing order, s = 0 ... n. Of sets that
        are equally good the one whose kept coalition has the lowest index; `best_coalitions` has them all.
    """
    n = units_of(table)
    return [removed_units(int(best[0]), n) for best in best_coalitions(table)]


def oracle_rank(table: np.ndarray) -> np.ndarray:
    """The one removal order that agrees most with the oracle sets of all sizes, int [n]; the first leaves first.

    Oracle sets need not be nested, so an order may not meet them all. This one has the largest sum over the sizes s of
    the units that its first s share with the oracle set of size s, where equally good sets each count for an equal
    part. It is an assignment of units to places, solved exactly.

    Source: the Oracle rank of Adamczewski et al. 2024, whose construction is not in what we could read; this one is
    ours.
    """
    n = units_of(table)
    # How much a unit at place p gains: its share in the oracle sets of all sizes above p.
    shares = np.array([1 - kept_units(best, n).mean(0) for best in best_coalitions(table)])
    gain = np.cumsum(shares[:0:-1], axis=0)[::-1]  # [places, units]
    places, units = linear_sum_assignment(gain, maximize=True)
    return units[np.argsort(places)]


def greedy_order(table: np.ndarray) -> np.ndarray:
    """The removal order that takes, at every step, the unit that costs least just then, int [n].

    Of units that cost the same the lowest is taken.
    """
    left, order = len(table) - 1, []
    for _ in range(units_of(table)):
        there = [unit for unit in range(units_of(table)) if left >> unit & 1]
        order.append(max(there, key=lambda unit: table[left - (1 << unit)]))
        left -= 1 << order[-1]
    return np.array(order)


@dataclass(frozen=True)
class Overlap:
    """How well a ranking agrees with the oracle sets of one size.

    Attributes:
        size: how many units are removed, s.
        ties: how many sets of that size are equally good; where there are several, each overlap is with the one that
            the ranking is nearest to.
        overlap_low: share of the ranking's lowest s units that are in the best removal set of size s.
        overlap_high: share of the ranking's highest s units that are in the best kept set of size s.
        cumulative_overlap: shared units over all sizes up to s at the low end, over 1 + ... + s (Adamczewski et al.).
        gap: value of the oracle's coalition minus that of the ranking's; 0 = as good as the oracle.
    """

    size: int
    ties: int
    overlap_low: float
    overlap_high: float
    cumulative_overlap: float
    gap: float


def overlap(table: np.ndarray, order: Sequence[int]) -> list[Overlap]:
    """Compare a removal order with the oracle sets, for every size from 1 to n - 1.

    Args:
        table: coalition table, float [2^n].
        order: the units from the first to leave to the last, int [n].

    Raises:
        ShapPruneError: an order that is none.
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
    """The coalitions that a removal order leaves, as indices in a table, int [n + 1]; the first is the whole layer.

    Raises:
        ShapPruneError: an order that is none.
    """
    order = [int(unit) for unit in order]
    if sorted(order) != list(range(units)):
        raise ShapPruneError(f"{order} is no removal order of the table's {units} units")
    return 2**units - 1 - np.concatenate([[0], np.cumsum([1 << unit for unit in order])])


def removed_units(coalition: int, units: int) -> tuple[int, ...]:
    """The units that a coalition lacks, by its index in a table; in increasing order."""
    return tuple(unit for unit in range(units) if not coalition >> unit & 1)


def _most_common(one: int | np.integer, others: np.ndarray) -> int:
    """How many units a set shares with the set it shares most with; all as indices."""
    return int(np.bitwise_count(others & one).max())
