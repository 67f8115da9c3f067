"""The truth about small layers: the value of every coalition, and the best set of units to remove of every size."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
import torch

from shapprune.errors import ShapPruneError
from shapprune.payoffs import require_finite
from shapprune.progress import track
from shapprune.shapley.enumeration import check_units, kept_units, marginal_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shapprune.game import LayerGame

_CHUNK = 1024


def coalition_table(game: LayerGame) -> np.ndarray:
    """The mean payoff over the examples of every coalition of a layer.

    Args:
        game: a layer of at most 20 units.

    Returns:
        float64 [2^n]; bit i of the index set = unit i kept, so the last entry is the whole layer.

    Raises:
        ShapPruneError: more than 20 units.
    """
    check_units(game.units)
    size = 2**game.units
    table = np.empty(size)
    for start in track(range(0, size, _CHUNK), f"coalitions of {game.layer}"):
        stop = min(start + _CHUNK, size)
        table[start:stop] = game.value(kept_units(np.arange(start, stop), game.units)).double().mean(1).cpu().numpy()
    require_finite(torch.from_numpy(table), f"coalition table of layer {game.layer!r}")
    return table


def shapley_values(table: np.ndarray) -> np.ndarray:
    """Exact Shapley values from a coalition table, float64 [n]; they sum to table[-1] - table[0].

    Source: Eq. 5 of Ancona et al. 2020.
    """
    n = _units(table)
    indices = np.arange(len(table))
    size = kept_units(indices, n).sum(1)
    weights = marginal_weights(n)
    without = [indices[(indices >> i) & 1 == 0] for i in range(n)]
    return np.array([weights[size[rest]] @ (table[rest | (1 << i)] - table[rest]) for i, rest in enumerate(without)])


def oracle_sets(table: np.ndarray) -> list[tuple[int, ...]]:
    """The sets of units whose joint removal costs least.

    Returns:
        ``sets[s]``: the s units that leave the best coalition of n - s, in increasing order, s = 0 ... n. Of sets that
        are equally good the one whose kept coalition has the lowest index.
    """
    n = _units(table)
    size = kept_units(np.arange(len(table)), n).sum(1)
    sets = []
    for s in range(n + 1):
        candidates = np.flatnonzero(size == n - s)
        best = int(candidates[np.argmax(table[candidates])])
        sets.append(tuple(i for i in range(n) if not best >> i & 1))
    return sets


@dataclass(frozen=True)
class Overlap:
    """How well a ranking agrees with the oracle sets of one size.

    Attributes:
        size: how many units are removed, s.
        overlap_low: share of the ranking's lowest s units that are in the best removal set of size s.
        overlap_high: share of the ranking's highest s units that are in the best kept set of size s.
        cumulative_overlap: shared units over all sizes up to s at the low end, over 1 + ... + s (Adamczewski et al.).
        gap: value of the oracle's coalition minus that of the ranking's; 0 = as good as the oracle.
    """

    size: int
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
    n = _units(table)
    order = [int(unit) for unit in order]
    if sorted(order) != list(range(n)):
        raise ShapPruneError(f"{order} is no removal order of the table's {n} units")
    sets = oracle_sets(table)
    everything = 2**n - 1
    common = [len(set(order[:s]) & set(sets[s])) for s in range(n + 1)]
    cumulative = list(accumulate(common))
    return [
        Overlap(
            size=s,
            overlap_low=common[s] / s,
            overlap_high=len(set(order[n - s :]) - set(sets[n - s])) / s,
            cumulative_overlap=cumulative[s] / (s * (s + 1) / 2),
            gap=float(table[everything - _index(sets[s])] - table[everything - _index(order[:s])]),
        )
        for s in range(1, n)
    ]


def _index(units: Sequence[int]) -> int:
    """The index of the coalition that holds just these units."""
    return sum(1 << unit for unit in units)


def _units(table: np.ndarray) -> int:
    """How many units a table is of."""
    n = len(table).bit_length() - 1
    if len(table) != 2**n or n < 1:
        raise ShapPruneError(f"a coalition table has 2^n entries, not {len(table)}")
    return n
