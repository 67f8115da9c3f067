"""Enumeration of coalitions: their masks, the weights of marginal contributions, and the limit."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import cache
from math import comb
from typing import TYPE_CHECKING

import numpy as np

from shapprune.core.errors import ShapPruneError, unknown

if TYPE_CHECKING:
    from shapprune.game.protocol import Game

MAX_UNITS = 20


def require_enumerable(game: Game, coalitions: int | None = None) -> None:
    """Raise unless a number of coalitions is at most that of a layer of 20 units.

    Args:
        game: the layer.
        coalitions: how many; by default all, 2^n.

    Raises:
        ShapPruneError: there are more.
    """
    count = 2**game.units if coalitions is None else coalitions
    if count > 2**MAX_UNITS:
        number = f"{Decimal(count):.1e}" if coalitions else f"2^{game.units}"
        raise ShapPruneError(
            f"{number} coalitions of the {game.units} units of layer {game.layer!r} are too many to enumerate;"
            f" at most 2^{MAX_UNITS} are allowed, those of {MAX_UNITS} units"
        )


def marginal_weights(units: int) -> np.ndarray:
    """Weights of a marginal contribution to s other units, s! (n-s-1)! / n! for s = 0 ... n-1, float64 [n].

    Source: Eq. 5 of Ancona et al. 2020.
    """
    weights = np.empty(units)
    weights[0] = 1 / units
    for s in range(1, (units + 1) // 2):
        weights[s] = weights[s - 1] * s / (units - s)
    # Mirrored: the product cannot grow again where the middle weights of a thousand units underflow to 0.
    weights[units // 2 :] = weights[: (units + 1) // 2][::-1]
    return weights


def partial_weights(units: int, size: int, end: str) -> np.ndarray:
    """`marginal_weights` of the coalitions near one end, and 0 for all others, float64 [n].

    Args:
        units: number of units of the layer, n.
        size: the most units that the smaller coalition lacks (end ``full``), or that the larger holds (``empty``).
        end: ``full`` or ``empty``.

    Raises:
        ShapPruneError: a size below 1, or an unknown end.
    """
    if size < 1:
        raise ShapPruneError(f"size = {size}, at least 1 is needed")
    if end not in ("full", "empty"):
        raise unknown("end", end, ("full", "empty"))
    others = np.arange(units)
    near = others >= units - size if end == "full" else others < size
    return np.where(near, marginal_weights(units), 0.0)


def kept_units(indices: Sequence[int] | np.ndarray, units: int) -> np.ndarray:
    """The coalitions at some indices of a table as masks, bool [len(indices), units]; bit i of an index = unit i."""
    return (np.asarray(indices)[:, None] >> np.arange(units)) & 1 > 0


def sets_by_rank(ranks: np.ndarray, size: int, units: int) -> np.ndarray:
    """The sets of a size at some ranks, as masks.

    Args:
        ranks: int [k], from 0 to C(units, size) - 1, which is below 2^63.
        size: number of units in each set.
        units: number of units of the layer, n.

    Returns:
        bool [k, n]. Ranks follow the masks as numbers (bit i = unit i), so the first half of the sets of n/2 units are
        the complements of the other half.

    Source: the combinatorial number system (Lehmer 1964).
    """
    few = min(size, units - size)
    if few < size:
        return ~sets_by_rank(comb(units, size) - 1 - ranks, few, units)
    binomials = _binomials(units, few)
    masks, rows = np.zeros((len(ranks), units), dtype=bool), np.arange(len(ranks))
    for k in range(few, 0, -1):
        largest = binomials[k].searchsorted(ranks, side="right") - 1
        masks[rows, largest] = True
        ranks = ranks - binomials[k][largest]
    return masks


@cache
def _binomials(units: int, most: int) -> np.ndarray:
    """C(i, k) for k = 0 ... most and i = 0 ... units - 1, int64 [most + 1, units]."""
    table = np.zeros((units, most + 1), dtype=np.int64)
    table[:, 0] = 1
    for i in range(1, units):
        table[i, 1:] = table[i - 1, 1:] + table[i - 1, :-1]
    return np.ascontiguousarray(table.T)


def sets_of_sizes(sizes: Sequence[int], units: int, start: int, stop: int) -> np.ndarray:
    """The sets of some sizes, by size and rank, from place ``start`` to ``stop``, as masks, bool [stop - start, n]."""
    parts, before = [], 0
    for size in sizes:
        count = comb(units, size)
        ranks = np.arange(max(start - before, 0), min(stop - before, count))
        parts.append(sets_by_rank(ranks, size, units))
        before += count
    return np.concatenate(parts)
