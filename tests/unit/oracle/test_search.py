"""Search for good sets in layers that are too large for a coalition table."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from shapprune import LayerGame, ShapPruneError, oracle
from tests.toys import ConvNetwork, images, labels, randomise


class TableOnly:
    """A game that is nothing but a table of mean payoffs."""

    layer = "layer"

    def __init__(self, table):
        self.table, self.units, self.valued = np.asarray(table, dtype=float), len(table).bit_length() - 1, 0

    def value(self, kept):
        self.valued += len(kept)
        return torch.from_numpy(self.table[np.asarray(kept) @ (1 << np.arange(self.units))])[:, None]


def table_of(n, seed):
    return np.random.default_rng(seed).normal(size=2**n)


def test_a_budget_for_all_coalitions_finds_the_oracle_sets():
    game = TableOnly(table_of(7, 0))
    found = oracle.search_sets(game, budget=128)
    assert game.valued == 128
    assert [each.units for each in found] == oracle.oracle_sets(game.table)
    assert all(each.exhaustive for each in found)


@pytest.mark.parametrize("budget", [37, 60, 100, 200])
@pytest.mark.parametrize("swaps", [True, False])
def test_what_is_found_is_a_lower_bound_and_the_budget_is_kept(budget, swaps):
    for seed in range(5):
        game = TableOnly(table_of(8, seed))
        found = oracle.search_sets(game, budget, swaps=swaps)
        assert game.valued <= budget
        assert [each.size for each in found] == list(range(9))
        for each, best in zip(found, oracle.oracle_sets(game.table), strict=True):
            worth = game.table[255 - sum(1 << unit for unit in each.units)]
            assert len(each.units) == each.size
            assert each.value == worth
            if each.exhaustive:
                assert each.units == best
            else:
                assert worth <= game.table[255 - sum(1 << unit for unit in best)]


def test_greedy_beam_and_swaps():
    # Unit 0 is the cheapest to remove, but the best pair is (1, 2): the greedy search keeps 0 removed.
    costs = {
        (): 0,
        (0,): 1,
        (1,): 2,
        (2,): 2,
        (3,): 9,
        (0, 1): 8,
        (0, 2): 8,
        (1, 2): 3,
        (0, 3): 9,
        (1, 3): 9,
        (2, 3): 9,
    }
    table = np.full(16, -20.0)
    for units, cost in costs.items():
        table[15 - sum(1 << unit for unit in units)] = -cost
    greedy = oracle.search_sets(TableOnly(table), 11, beam=1, swaps=False)
    assert greedy[2].units == (0, 1)
    assert not greedy[2].exhaustive
    big = np.concatenate([np.full(2**7 - 16, -50.0), table])  # three units more that cost a lot, so that not all fits
    wide = oracle.search_sets(TableOnly(big), 60, beam=2, swaps=False)
    assert wide[2].units == (1, 2)


def test_swaps_mend_what_greedy_removal_missed():
    mended = 0
    for seed in range(10):
        game = TableOnly(table_of(9, seed))
        plain = oracle.search_sets(game, 200, beam=1, swaps=False)
        swapped = oracle.search_sets(game, 200, beam=1)
        assert all(one.value <= other.value for one, other in zip(plain, swapped, strict=True))
        mended += sum(one.value < other.value for one, other in zip(plain, swapped, strict=True))
    assert mended


def test_of_a_layer_and_for_a_seed():
    game = LayerGame(randomise(ConvNetwork(hidden=30)), "fc", images(6), labels(6))
    before = game.evaluations
    found = oracle.search_sets(game, budget=1000)
    assert game.evaluations - before <= 1000
    assert found == oracle.search_sets(game, budget=1000)
    assert [each.exhaustive for each in found[:2]] == [True, True]
    kept = torch.ones(1, 30, dtype=torch.bool)
    kept[0, list(found[10].units)] = False
    assert found[10].value == pytest.approx(float(game.value(kept).mean()), abs=1e-6)


def test_bad_input():
    with pytest.raises(ShapPruneError, match="beam = 0, at least 1"):
        oracle.search_sets(TableOnly(np.zeros(16)), beam=0)
    with pytest.raises(
        ShapPruneError, match="a budget of 10 coalitions is below the 11 that greedy removal of 4 units"
    ):
        oracle.search_sets(TableOnly(np.zeros(16)), 10)
