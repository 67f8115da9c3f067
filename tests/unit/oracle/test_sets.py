"""Oracle sets and removal orders against them, on games small enough to know."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from shapprune import ShapPruneError, oracle


def additive_table(worth):
    """The table of a game without interaction: a coalition is worth the sum of its units."""
    n = len(worth)
    return np.array([sum(w for i, w in enumerate(worth) if index >> i & 1) for index in range(2**n)], dtype=float)


def test_additive_game():
    worth = [3.0, -1.0, 2.0, 0.5]
    table = additive_table(worth)
    np.testing.assert_allclose(oracle.shapley_values(table), worth)
    assert oracle.oracle_sets(table) == [(), (1,), (1, 3), (1, 2, 3), (0, 1, 2, 3)]
    right = oracle.overlap(table, [1, 3, 2, 0])
    assert [row.size for row in right] == [1, 2, 3]
    for row in right:  # the oracle sets are nested: the right order meets them all
        assert (row.overlap_low, row.overlap_high, row.cumulative_overlap, row.gap) == (1, 1, 1, 0)
    wrong = oracle.overlap(table, [0, 2, 3, 1])
    assert [row.overlap_low for row in wrong] == pytest.approx([0, 0, 2 / 3])
    assert [row.overlap_high for row in wrong] == pytest.approx([0, 0, 2 / 3])
    assert [row.cumulative_overlap for row in wrong] == pytest.approx([0, 0, 2 / 6])
    assert [row.gap for row in wrong] == pytest.approx([4, 5.5, 4])


def test_game_with_a_twin():
    # Units 0 and 1 are worth 1 if either is there, unit 2 is worth 0.4: Shapley values 1/2, 1/2, 0.4, and yet the
    # best unit to remove is one of the twins.
    table = np.array([0, 1, 1, 1, 0.4, 1.4, 1.4, 1.4])
    np.testing.assert_allclose(oracle.shapley_values(table), [0.5, 0.5, 0.4])
    sets = oracle.oracle_sets(table)
    assert sets[1] in {(0,), (1,)}
    assert 2 in sets[2]  # what is kept of two removals is a twin: the oracle sets are not nested


def random_table(n, seed):
    return np.random.default_rng(seed).normal(size=2**n)


@pytest.mark.parametrize("seed", range(5))
def test_no_order_agrees_more_with_the_oracle_sets_than_the_oracle_rank(seed):
    table = random_table(5, seed)

    def agreement(order):
        return oracle.overlap(table, order)[-1].cumulative_overlap

    rank = oracle.oracle_rank(table)
    assert sorted(rank) == list(range(5))
    assert agreement(rank) == max(map(agreement, permutations(range(5))))


def test_oracle_rank_of_nested_sets_meets_them_all():
    assert oracle.oracle_rank(additive_table([3.0, -1.0, 2.0, 0.5])).tolist() == [1, 3, 2, 0]


def test_ties_are_counted_and_not_broken_by_order():
    # Twins 0 and 1: either may leave first. Unit 2 is worth more than both.
    table = np.array([0, 1, 1, 1, 3, 4, 4, 4.0])
    assert [len(best) for best in oracle.best_coalitions(table)] == [1, 2, 1, 1]
    for order in ([0, 1, 2], [1, 0, 2]):
        assert [(row.ties, row.overlap_low, row.gap) for row in oracle.overlap(table, order)] == [(2, 1, 0), (1, 1, 0)]
    assert oracle.oracle_rank(table)[-1] == 2
    flat = np.zeros(16)
    assert [row.ties for row in oracle.overlap(flat, [2, 0, 3, 1])] == [4, 6, 4]
    assert all(
        row.overlap_low == row.overlap_high == row.cumulative_overlap == 1 for row in oracle.overlap(flat, range(4))
    )


def test_bad_input():
    with pytest.raises(ShapPruneError, match="not 7"):
        oracle.oracle_sets(np.zeros(7))
    with pytest.raises(ShapPruneError, match="no removal order of the table's 2 units"):
        oracle.overlap(np.zeros(4), [0, 0])
