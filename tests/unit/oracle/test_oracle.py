"""Coalition tables, oracle sets and overlap on games small enough to know."""

from __future__ import annotations

from itertools import combinations, permutations
from math import factorial

import numpy as np
import pytest
import torch

from shapprune import LayerGame, ShapPruneError, oracle, shapley
from shapprune.shapley.enumeration import kept_units
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


def random_table(n, seed=0):
    return np.random.default_rng(seed).normal(size=2**n)


def marginals(table, unit):
    """Marginal contributions of a unit by the coalition it joins."""
    return {s: table[s | 1 << unit] - table[s] for s in range(len(table)) if not s >> unit & 1}


def test_values_by_their_definitions():
    table, n = random_table(5), 5
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


def test_tables_of_payoff_loss_and_accuracy():
    game = LayerGame(randomise(ConvNetwork()), "features.0", images(5), labels(5), payoff="margin")
    tables, each = oracle.coalition_tables(game), oracle.example_tables(game)
    assert each.shape == (3, 16, 5)
    for table, of_examples in zip(tables, each, strict=True):
        np.testing.assert_allclose(of_examples.double().mean(1), table, atol=1e-6)
    loss, accuracy = game.loss_and_accuracy(kept_units(range(16), 4))
    np.testing.assert_allclose(tables.loss, loss.double().mean(1), atol=1e-6)
    np.testing.assert_allclose(tables.accuracy, accuracy.double().mean(1))
    np.testing.assert_allclose(tables.payoff, oracle.coalition_table(game), atol=1e-6)


def test_table_goes_on_where_it_was_cut_off(tmp_path, monkeypatch):
    monkeypatch.setattr("shapprune.oracle.tables._CHUNK", 4)
    monkeypatch.setattr("shapprune.shapley.unfinished.INTERVAL", 0)
    whole = oracle.coalition_tables(LayerGame(randomise(ConvNetwork()), "features.0", images(5), labels(5)))
    game = LayerGame(randomise(ConvNetwork()), "features.0", images(5), labels(5))
    value, calls = game.values_by, []

    def fail(*args):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return value(*args)

    game.values_by = fail
    with pytest.raises(KeyboardInterrupt):
        oracle.coalition_tables(game, checkpoint=tmp_path / "table.pt")
    again = LayerGame(randomise(ConvNetwork()), "features.0", images(5), labels(5))
    found = oracle.coalition_tables(again, checkpoint=tmp_path / "table.pt")
    assert again.evaluations == 8  # of 16
    for one, other in zip(found, whole, strict=True):
        np.testing.assert_array_equal(one, other)
    # A checkpoint of other images is no beginning of this table.
    other = LayerGame(randomise(ConvNetwork()), "features.0", images(6), labels(6))
    oracle.coalition_tables(other, checkpoint=tmp_path / "table.pt")
    assert other.evaluations == 16


def test_constant_payoff_is_said():
    game = LayerGame(
        randomise(ConvNetwork()), "features.0", images(3), labels(3), payoff=lambda outputs, labels: outputs[:, 0] * 0
    )
    with pytest.warns(UserWarning, match=r"all coalitions of layer 'features.0' have the same payoff, so the values"):
        table = oracle.coalition_table(game)
    assert not oracle.shapley_values(table).any()
    assert not shapley.exact(game).values.any()


def test_bad_input():
    with pytest.raises(ShapPruneError, match="not 7"):
        oracle.oracle_sets(np.zeros(7))
    with pytest.raises(ShapPruneError, match="no removal order of the table's 2 units"):
        oracle.overlap(np.zeros(4), [0, 0])
    with pytest.raises(ShapPruneError, match="end 'middle'; allowed: empty, full"):
        oracle.partial_values(np.zeros(4), 1, end="middle")


@pytest.mark.parametrize("units", [25, 1200])
def test_too_many_coalitions_are_refused_before_any_is_valued(units):
    wide = LayerGame(randomise(ConvNetwork(hidden=units)), "fc", images(2), labels(2))
    for refused in (oracle.coalition_table, oracle.example_tables, shapley.exact):
        with pytest.raises(ShapPruneError, match=rf"2\^{units} coalitions of the {units} units of layer 'fc' .* 2\^20"):
            refused(wide)
    assert wide.evaluations == 0
