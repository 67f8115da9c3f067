"""What enumerating all coalitions needs: their masks, the weights of marginal contributions, and the limit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shapprune.errors import ShapPruneError

MAX_UNITS = 20


def check_units(units: int) -> None:
    """Refuse a layer with more units than can be enumerated."""
    if units > MAX_UNITS:
        raise ShapPruneError(
            f"{units} units have 2^{units} = {2**units:.3g} coalitions, at most {MAX_UNITS} units can be enumerated"
        )


def marginal_weights(units: int) -> np.ndarray:
    """Weight of a marginal contribution to s other units, s! (n-s-1)! / n! for s = 0 ... n-1, float64 [n].

    Source: Eq. 5 of Ancona et al. 2020.
    """
    weights = np.empty(units)
    weights[0] = 1 / units
    for s in range(1, units):
        weights[s] = weights[s - 1] * s / (units - s)
    return weights


def kept_units(indices: Sequence[int] | np.ndarray, units: int) -> np.ndarray:
    """Coalitions by their index in a table, as masks, bool [len(indices), units]."""
    return (np.asarray(indices)[:, None] >> np.arange(units)) & 1 > 0
