"""Backward elimination against fitting everything anew."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch

from shapprune.criteria import elimination
from shapprune.criteria.elimination import Reading, eliminate, fit_to_fewer

RIDGE = 0.3


def reading(units=5, k=2, rows=40, outputs=3, seed=0, extra=1):
    """A reader of some units and of other inputs beside them; also its rows."""
    generator = torch.Generator().manual_seed(seed)
    features = units * k + extra
    mixed = torch.randn(features, features, generator=generator, dtype=torch.double)
    x = torch.randn(rows, features, generator=generator, dtype=torch.double) @ mixed
    x -= x.mean(0)
    weights = torch.randn(features, outputs, generator=generator, dtype=torch.double)
    importance = torch.rand(outputs, generator=generator, dtype=torch.double) + 0.1
    places = torch.randperm(features, generator=generator)[: units * k].reshape(units, k)
    held = x if rows < features else x.T @ x
    return Reading(held, torch.zeros(features), weights, importance, places), x


def fitted(found, x, gone):
    """The weights without some units, fitted anew, and the share of variance that is lost; term by term."""
    strength = RIDGE * x.square().sum(0).mean()
    stay = torch.ones(x.shape[1], dtype=torch.bool)
    for unit in gone:
        stay[found.places[unit]] = False
    h = x[:, stay].T @ x[:, stay] + strength * torch.eye(int(stay.sum()))
    wanted = x[:, stay].T @ (x @ found.weights) + strength * found.weights[stay]
    weights = torch.zeros_like(found.weights)
    weights[stay] = torch.linalg.solve(h, wanted)
    change = (found.weights - weights)[stay]
    missing = (x @ (found.weights - weights)).square().sum(0) + strength * change.square().sum(0)
    whole = (x @ found.weights).square().sum(0)
    return weights, float(missing @ found.importance / (whole @ found.importance))


@pytest.mark.parametrize("rows", [6, 40])  # fewer and more than features
@pytest.mark.parametrize("k", [1, 2])
def test_weights_and_losses_are_those_of_fits_from_scratch(rows, k):
    found, x = reading(k=k, rows=rows if k == 2 else rows - 1)
    result = eliminate([found], RIDGE)
    seen = []
    for left, (own,) in fit_to_fewer([found], result.order, range(1, 6), RIDGE):
        weights, lost = fitted(found, x, result.order[: 5 - left])
        torch.testing.assert_close(own, weights)
        assert result.lost[5 - left] == pytest.approx(lost)
        seen.append(left)
    assert seen == [5, 4, 3, 2, 1]
    assert result.lost[0] == 0
    assert sorted(result.order) == list(range(5))


@pytest.mark.parametrize("seed", range(5))
def test_each_step_takes_the_unit_that_is_missed_least(seed):
    found, x = reading(seed=seed)
    other, y = reading(seed=seed + 50, k=1)
    order = eliminate([found, other], RIDGE).order

    def lost(gone):
        return fitted(found, x, gone)[1] + fitted(other, y, gone)[1]

    for step in range(4):
        best = min((unit for unit in range(5) if unit not in order[:step]), key=lambda u: lost([*order[:step], u]))
        assert order[step] == best


def test_an_order_that_is_given_is_kept():
    found, x = reading()
    result = eliminate([found], RIDGE, order=[3, 1, 0, 4, 2])
    assert result.order == [3, 1, 0, 4, 2]
    assert result.lost[3] == pytest.approx(fitted(found, x, [3, 1, 0])[1])


@pytest.mark.parametrize("rows", [100, 400])  # fewer and more than features
def test_many_units_leave_several_at_a_time(rows):
    found, x = reading(units=150, k=1, rows=rows)
    order = eliminate([found], RIDGE).order
    assert sorted(order) == list(range(150))
    seen = []
    for left, (weights,) in fit_to_fewer([found], order, [101, 149], RIDGE):
        torch.testing.assert_close(weights, fitted(found, x, order[: 150 - left])[0])
        seen.append(left)
    assert seen == [149, 101]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("rows", [6, 40])  # fewer and more than features
def test_units_leave_without_waiting_for_the_device(rows, monkeypatch):
    found, _ = reading(rows=rows)
    expected = eliminate([found], RIDGE)
    there = Reading(*(getattr(found, each.name).cuda() for each in fields(found)))

    def strict(function):
        def called(*given):
            torch.cuda.set_sync_debug_mode("error")
            try:
                return function(*given)
            finally:
                torch.cuda.set_sync_debug_mode("default")

        return called

    eliminate([there], RIDGE)  # what is set up once may wait
    for name in ("rises", "remove"):
        monkeypatch.setattr(elimination._State, name, strict(getattr(elimination._State, name)))
    result = eliminate([there], RIDGE)
    assert result.order == expected.order
    assert result.lost == pytest.approx(expected.lost)


def test_constant_and_dead_inputs_are_no_error():
    found, _ = reading()
    for rows in (torch.zeros_like(found.rows), found.rows * (torch.arange(11) > 5).outer(torch.arange(11) > 5)):
        result = eliminate([Reading(rows, found.means, found.weights, found.importance, found.places)], RIDGE)
        assert sorted(result.order) == list(range(5))
        assert all(value >= 0 for value in result.lost)
