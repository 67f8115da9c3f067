"""Values of units from a coalition table: means of their marginal contributions, without running a network."""

from __future__ import annotations

import numpy as np

from shapprune.core.errors import ShapPruneError
from shapprune.shapley.enumeration import marginal_weights, partial_weights


def units_of(table: np.ndarray) -> int:
    """How many units a coalition table [2^n] is about, n.

    Raises:
        ShapPruneError: its length is no power of two, or below 2.
    """
    n = len(table).bit_length() - 1
    if len(table) != 2**n or n < 1:
        raise ShapPruneError(f"a coalition table has 2^n entries, not {len(table)}")
    return n


def shapley_values(table: np.ndarray) -> np.ndarray:
    """Exact Shapley values, float64 [n]; they sum to table[-1] - table[0].

    Args:
        table: coalition table, float [2^n]; bit i of the index set = unit i kept.

    Source: Eq. 5 of Ancona et al. 2020.

    Examples:
        Two units that do the same share the credit:

        >>> import numpy as np
        >>> from shapprune import oracle
        >>> oracle.shapley_values(np.array([0.0, 1.0, 1.0, 1.0])).tolist()
        [0.5, 0.5]
    """
    return _mean_marginals(table, marginal_weights(units_of(table)))


def banzhaf_values(table: np.ndarray) -> np.ndarray:
    """Banzhaf values, float64 [n]: means of marginal contributions to all coalitions of the other units.

    Args:
        table: as for `shapley_values`.

    Source: Banzhaf 1965.
    """
    n = units_of(table)
    return _mean_marginals(table, np.full(n, 2.0 ** (1 - n)))


def leave_one_out_values(table: np.ndarray) -> np.ndarray:
    """What the whole layer loses when one unit leaves, float64 [n].

    Args:
        table: as for `shapley_values`.
    """
    last = np.zeros(units_of(table))
    last[-1] = 1
    return _mean_marginals(table, last)


def partial_values(table: np.ndarray, size: int, end: str = "full") -> np.ndarray:
    """Partial Shapley values, float64 [n]: the terms of the Shapley value near one end, not renormalised.

    Args:
        table: as for `shapley_values`.
        size: the largest number of units that are removed (``end="full"``) or kept (``end="empty"``). With n these are
            Shapley values; with 1 from the full end leave-one-out values divided by n.
        end: ``full`` or ``empty``.

    Raises:
        ShapPruneError: a size below 1, or an unknown end.

    Source: Adamczewski et al. 2024.
    """
    return _mean_marginals(table, partial_weights(units_of(table), size, end))


def _mean_marginals(table: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sums of marginal contributions; ``weights`` [n] are by the number of units in the coalition that is joined."""
    n = units_of(table)
    weight = weights[np.bitwise_count(np.arange(2 ** (n - 1), dtype=np.uint32))]
    values = np.empty(n)
    for i in range(n):
        pairs = np.asarray(table, dtype=float).reshape(-1, 2, 2**i)  # without and with unit i
        # Without bit i the indices of the pairs are 0, 1, 2, ..., so the weights are in the same order.
        values[i] = weight @ (pairs[:, 1] - pairs[:, 0]).reshape(-1)
    return values
