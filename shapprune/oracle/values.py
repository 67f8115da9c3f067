"""What follows from a coalition table at no further network cost: values of units by which coalitions they join."""

from __future__ import annotations

import numpy as np

from shapprune.core.errors import ShapPruneError
from shapprune.shapley.enumeration import marginal_weights, partial_weights


def units_of(table: np.ndarray) -> int:
    """How many units a table is of.

    Raises:
        ShapPruneError: it has not 2^n entries.
    """
    n = len(table).bit_length() - 1
    if len(table) != 2**n or n < 1:
        raise ShapPruneError(f"a coalition table has 2^n entries, not {len(table)}")
    return n


def shapley_values(table: np.ndarray) -> np.ndarray:
    """Exact Shapley values from a coalition table, float64 [n]; they sum to table[-1] - table[0].

    Source: Eq. 5 of Ancona et al. 2020.
    """
    return _mean_marginals(table, marginal_weights(units_of(table)))


def banzhaf_values(table: np.ndarray) -> np.ndarray:
    """Banzhaf values, float64 [n]: the mean marginal contribution over all coalitions of the other units, each once.

    Source: Banzhaf 1965.
    """
    n = units_of(table)
    return _mean_marginals(table, np.full(n, 2.0 ** (1 - n)))


def leave_one_out_values(table: np.ndarray) -> np.ndarray:
    """What is lost when a unit alone leaves the whole layer, float64 [n]."""
    last = np.zeros(units_of(table))
    last[-1] = 1
    return _mean_marginals(table, last)


def partial_values(table: np.ndarray, size: int, end: str = "full") -> np.ndarray:
    """Partial Shapley values, float64 [n]: the terms of the Shapley value near one end, not renormalised.

    Args:
        table: coalition table, float [2^n].
        size: the most units that are removed (``end="full"``) or kept (``end="empty"``), k; n gives Shapley values, and
            1 from the full end leave-one-out over n.
        end: ``full`` or ``empty``.

    Raises:
        ShapPruneError: a size below 1, or an unknown end.

    Source: Adamczewski et al. 2024.
    """
    return _mean_marginals(table, partial_weights(units_of(table), size, end))


def _mean_marginals(table: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Marginal contributions of each unit, weighted by how many others are there, summed."""
    n = units_of(table)
    weight_of = weights[np.bitwise_count(np.arange(2 ** (n - 1), dtype=np.uint32))]
    values = np.empty(n)
    for i in range(n):
        pairs = np.asarray(table, dtype=float).reshape(-1, 2, 2**i)  # without and with unit i
        # What is left of the indices without bit i counts up from 0, like those of the weights.
        values[i] = weight_of @ (pairs[:, 1] - pairs[:, 0]).reshape(-1)
    return values
