"""The counter of evaluations."""

from __future__ import annotations

from shapprune.game.cost import Cost


def test_evaluations_add_up():
    cost = Cost()
    assert cost.evaluations == 0
    cost.add(3)
    cost.add(0.5)
    assert cost.evaluations == 3.5
