"""The table of the repaired game against refitting, and the orders that follow from it."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks.draw_repaired import gaps_by_order
from benchmarks.repaired_game import ORACLE, RIDGE, SHARES, coalition_values, measure, removals
from shapprune.criteria.elimination import Reading
from shapprune.oracle.sets import greedy_order
from shapprune.pruning.damage import DamageMeter
from shapprune.pruning.selection import Structure
from tests.toys import ConvNetwork, images, randomise


@pytest.fixture
def reading() -> Reading:
    torch.manual_seed(0)
    rows = torch.randn(30, 10, dtype=torch.double)
    weights = torch.randn(10, 3, dtype=torch.double)
    return Reading(rows, torch.zeros(10), weights, torch.tensor([1.0, 2.0, 0.5]), torch.arange(10).reshape(5, 2))


def test_values_are_those_of_a_refit(reading):
    table = coalition_values([reading])
    rows, weights = reading.rows, reading.weights * reading.importance.double().sqrt()
    strength = RIDGE * float(rows.square().sum(0).mean())
    for size in range(6):
        for kept in combinations(range(5), size):
            places = reading.places[list(kept)].flatten()
            some = rows[:, places]
            fitted = torch.linalg.solve(
                some.mT @ some + strength * torch.eye(len(places), dtype=torch.double),
                some.mT @ (rows @ weights) + strength * weights[places],
            )
            lost = (rows @ weights - some @ fitted).square().sum()
            lost = lost + strength * (fitted - weights[places]).square().sum()
            share = float(lost / (rows @ weights).square().sum())
            assert table[sum(1 << unit for unit in kept)] == pytest.approx(-share, abs=1e-9)


def test_the_conditional_marginal_is_greedy_removal(reading):
    table = coalition_values([reading, reading])
    np.testing.assert_allclose(table, coalition_values([reading]), atol=1e-12)
    found = removals(table, [reading], torch.ones(5), seed=0)
    assert [tuple(sorted(each)) for each in found["conditional marginal"]] == [
        tuple(sorted(greedy_order(table)[:size].tolist())) for size in range(6)
    ]
    for sets in found.values():
        assert [len(each) for each in sets] == list(range(6))


def test_rows_of_a_layer():
    model = randomise(ConvNetwork())
    structure = Structure.of(model, images(2))
    rows = list(measure(structure, "features.0", images(20), DamageMeter(structure.graph, images(30, seed=1)), seed=0))
    lost = {row["order"]: row["lost"] for row in rows}
    assert len(lost) == len(rows) == 10
    assert min(lost.values()) == lost[ORACLE] > 0
    axes = gaps_by_order(pd.DataFrame([row | {"net": "toy", "layer": "features.0"} for row in rows])).axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert set(names) == set(lost) - {ORACLE}
    assert [lost[name] for name in names] == sorted((lost[name] for name in names), reverse=True)  # the best on top
    for row in rows:
        assert row["gap"] == pytest.approx(row["lost"] - lost[ORACLE])
        assert all(row[f"damage_{share:g}"] >= 0 for share in SHARES)
