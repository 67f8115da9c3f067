"""Values of units from a table, by their definitions."""

from __future__ import annotations

from math import factorial

import numpy as np
import pytest

from shapprune import ShapPruneError, oracle


def marginals(table, unit):
    """Marginal contributions of a unit by the coalition it joins."""
    return {s: table[s | 1 << unit] - table[s] for s in range(len(table)) if not s >> unit & 1}


def test_values_by_their_definitions():
    table, n = np.random.default_rng(0).normal(size=2**5), 5
    for i in range(n):
        joined = marginals(table, i)
        assert oracle.banzhaf_values(table)[i] == pytest.approx(np.mean(list(joined.values())))
        assert oracle.leave_one_out_values(table)[i] == pytest.approx(table[31] - table[31 - (1 << i)])
        for size in range(1, n + 1):
            # Adamczewski et al. 2024 by removal sets R: (|R| - 1)! (n - |R|)! / n! for each that holds the unit.
            near_full = sum(
                factorial(n - s.bit_count() - 1) * factorial(s.bit_count()) / factorial(n) * each
                for s, each in joined.items()
                if n - s.bit_count() <= size
            )
            assert oracle.partial_values(table, size)[i] == pytest.approx(near_full)
    np.testing.assert_allclose(oracle.partial_values(table, 1), oracle.leave_one_out_values(table) / n)
    for end in ("full", "empty"):
        np.testing.assert_allclose(oracle.partial_values(table, n, end), oracle.shapley_values(table))
    first = [(table[1 << i] - table[0]) / n for i in range(n)]
    np.testing.assert_allclose(oracle.partial_values(table, 1, "empty"), first)


def test_bad_input():
    with pytest.raises(ShapPruneError, match="not 7"):
        oracle.shapley_values(np.zeros(7))
    with pytest.raises(ShapPruneError, match="end 'middle'; allowed: empty, full"):
        oracle.partial_values(np.zeros(4), 1, end="middle")
