"""Coalition tables, oracle sets and overlap on games small enough to know."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch

from shapprune import LayerGame, ShapPruneError, oracle
from tests.toys import ConvNetwork, images, labels, randomise


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


def test_table_equals_one_by_one():
    game = LayerGame(randomise(ConvNetwork()), "features.0", images(5), labels(5))
    table = oracle.coalition_table(game)
    assert table.shape == (16,)
    for size in range(5):
        for units in combinations(range(4), size):
            mask = torch.zeros(1, 4, dtype=torch.bool)
            mask[0, list(units)] = True
            index = sum(1 << unit for unit in units)
            assert table[index] == pytest.approx(float(game.value(mask).mean()), abs=1e-6)


def test_bad_input():
    with pytest.raises(ShapPruneError, match="not 7"):
        oracle.oracle_sets(np.zeros(7))
    with pytest.raises(ShapPruneError, match="no removal order of the table's 2 units"):
        oracle.overlap(np.zeros(4), [0, 0])
    wide = LayerGame(randomise(ConvNetwork(hidden=25)), "fc", images(2), labels(2))
    with pytest.raises(ShapPruneError, match=r"2\^25 = 3.36e\+07 coalitions"):
        oracle.coalition_table(wide)
