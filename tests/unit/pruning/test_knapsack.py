"""Widths within a budget, against trying all of them."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
import torch

from shapprune import prunable_layers, remove_units
from shapprune.core.errors import ShapPruneError
from shapprune.graph.counting import count_macs
from shapprune.graph.dependents import Dependencies
from shapprune.graph.sizes import Sizes
from shapprune.graph.unit_graph import UnitGraph
from shapprune.pruning.knapsack import fit_widths, solve
from tests.unit.graph.test_sizes import OTHERS, OWN, network


@pytest.mark.parametrize("seed", range(10))
def test_the_dynamic_program_finds_the_best_of_all(seed):
    draw = random.Random(seed)
    damage = [[draw.random() for _ in range(4)] for _ in range(4)]
    costs = [[draw.randint(1, 30) for _ in range(4)] for _ in range(4)]
    least, most = sum(map(min, costs)), sum(map(max, costs))
    for budget in (least, (least + most) // 2, most):
        budget += 0.5  # room for costs that are rounded up to a four-thousandth of the budget
        found = solve(damage, costs, budget)
        picks = itertools.product(range(4), repeat=4)
        possible = [pick for pick in picks if sum(c[i] for c, i in zip(costs, pick, strict=True)) <= budget]
        best = min(sum(d[i] for d, i in zip(damage, pick, strict=True)) for pick in possible)
        assert sum(c[i] for c, i in zip(costs, found, strict=True)) <= budget
        assert sum(d[i] for d, i in zip(damage, found, strict=True)) == pytest.approx(best)
    assert solve(damage, costs, least - 1) is None


def chain(widths):
    """What a chain of layers costs: each pair of neighbours, and both ends."""
    return 3 * widths[:, 0] + (widths[:, :-1] * widths[:, 1:]).sum(1) + 5 * widths[:, -1]


@pytest.mark.parametrize("seed", range(10))
def test_costs_that_depend_on_neighbours(seed):
    draw = random.Random(seed)
    damage = {}
    for name in "abcd":
        falls = sorted((draw.random() ** 2 for _ in range(6)), reverse=True)
        damage[name] = {width: falls[width - 1] if width < 6 else 0.0 for width in range(1, 7)}
    table = np.array(list(itertools.product(range(1, 7), repeat=4)))
    total = sum(np.array([damage[name][width] for width in table[:, i]]) for i, name in enumerate("abcd"))
    for budget in (30, 60, 100):
        found = fit_widths(damage, chain, budget, dict.fromkeys("abcd", 3))
        assert chain(np.array([list(found.values())]))[0] <= budget
        best = total[chain(table) <= budget].min()
        reached = sum(damage[name][width] for name, width in found.items())
        assert reached <= 1.25 * best + 0.02


@pytest.mark.parametrize("name", [*OWN, *OTHERS])
def test_a_budget_is_never_exceeded(name):
    """Of the networks themselves, whatever the damage."""
    torch.manual_seed(0)
    model, x = network(name)
    graph, draw = UnitGraph(model, x), random.Random(0)
    groups = {layer.group[0]: layer.group for layer in prunable_layers(model, x, coupled=True) if layer.group}
    sizes = Sizes(model, graph, Dependencies(model, x, graph), list(groups))

    def cost(widths):
        return sizes.of({layer: widths[:, place] for place, layer in enumerate(groups)})["macs"]

    damage = {}
    for layer, units in sizes.full.items():
        scale, widths = draw.random(), sorted({max(1, units * part // 8) for part in range(1, 9)})
        damage[layer] = {width: scale * (1 - width / units) for width in widths}
    budget = sizes.of({})["macs"] / 2
    found = fit_widths(damage, cost, budget, sizes.full)
    gone = {name: range(sizes.full[layer] - found[layer]) for layer, group in groups.items() for name in group}
    assert 0.4 * budget < count_macs(remove_units(model, gone, x), x) <= budget


def test_a_budget_that_cannot_be_met():
    with pytest.raises(ShapPruneError, match="budget of 8 cannot be met: with the least units it takes 9"):
        fit_widths({"a": {3: 1.0, 4: 0.0}}, lambda widths: widths[:, 0] * 3, 8, {"a": 4})


def test_what_costs_nothing_is_given_back():
    damage = {"a": {1: 1.0, 2: 0.0}, "b": {1: 1.0, 2: 0.0}}
    assert fit_widths(damage, lambda widths: widths[:, 0], 1, {"a": 1, "b": 1}) == {"a": 1, "b": 2}
