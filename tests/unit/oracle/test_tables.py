"""Coalition tables: one by one, of several payoffs, and after they were cut off."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch

from shapprune import LayerGame, ShapPruneError, oracle, shapley
from shapprune.shapley.enumeration import kept_units
from tests.toys import ConvNetwork, images, labels, randomise


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
    monkeypatch.setattr("shapprune.shapley.unfinished.INTERVAL", 0)

    def game(count=3):
        return LayerGame(randomise(ConvNetwork(hidden=14)), "fc", images(count), labels(count))

    whole = oracle.coalition_tables(game())
    broken = game()
    value, batches = broken.values_by, []

    def fail(coalitions, payoffs):
        if len(batches) == 2:
            raise KeyboardInterrupt
        batches.append(len(coalitions))
        return value(coalitions, payoffs)

    monkeypatch.setattr(broken, "values_by", fail)
    with pytest.raises(KeyboardInterrupt):
        oracle.coalition_tables(broken, checkpoint=tmp_path / "table.pt")
    again = game()
    found = oracle.coalition_tables(again, checkpoint=tmp_path / "table.pt")
    assert again.evaluations == 2**14 - sum(batches) > 0
    for one, other in zip(found, whole, strict=True):
        np.testing.assert_array_equal(one, other)
    # A checkpoint of other images is no beginning of this table.
    other = game(count=4)
    oracle.coalition_tables(other, checkpoint=tmp_path / "table.pt")
    assert other.evaluations == 2**14


def test_constant_payoff_is_said():
    game = LayerGame(
        randomise(ConvNetwork()), "features.0", images(3), labels(3), payoff=lambda outputs, labels: outputs[:, 0] * 0
    )
    with pytest.warns(UserWarning, match=r"all coalitions of layer 'features.0' have the same payoff, so the values"):
        table = oracle.coalition_table(game)
    assert not oracle.shapley_values(table).any()
    assert not shapley.exact(game).values.any()


@pytest.mark.parametrize("units", [25, 1200])
def test_too_many_coalitions_are_refused_before_any_is_valued(units):
    wide = LayerGame(randomise(ConvNetwork(hidden=units)), "fc", images(2), labels(2))
    for refused in (oracle.coalition_table, oracle.example_tables, shapley.exact):
        with pytest.raises(ShapPruneError, match=rf"2\^{units} coalitions of the {units} units of layer 'fc' .* 2\^20"):
            refused(wide)
    assert wide.evaluations == 0
