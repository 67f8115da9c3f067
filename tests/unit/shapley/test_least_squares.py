"""Regressions against plain least squares, and scikit-learn, on the same rows."""

from __future__ import annotations

import importlib
from math import comb

import numpy as np
import pytest
import torch

from shapprune import shapley
from tests.games import PAPER_B, Recorded, conv_game, third_order_game


@pytest.mark.parametrize("weighting", ["kernel", "none"])
def test_all_coalitions_against_plain_least_squares(weighting):
    g = third_order_game(5)
    masks = (np.arange(1, 31)[:, None] >> np.arange(5)) & 1
    sizes = masks.sum(1)
    weights = np.ones(30) if weighting == "none" else 4 / ([comb(5, s) for s in sizes] * sizes * (5 - sizes))
    rows = np.hstack([masks, np.ones((30, 1))]) * np.sqrt(weights)[:, None]
    worth = g.value(masks > 0).numpy() * np.sqrt(weights)[:, None]
    expected = np.linalg.lstsq(rows, worth, rcond=None)[0][:5].T
    found = shapley.regression(g, sampling="leverage", weighting=weighting, constrained=False).values
    np.testing.assert_allclose(found, expected, atol=1e-9)
    # Draws by the kernel that repeat themselves tend to the kernel under either weighting.
    kernel, none = (shapley.regression(g, sampling="kernel", weighting=each).values for each in ("kernel", "none"))
    assert torch.equal(kernel, none)


@pytest.mark.parametrize("coalitions", [5, 9, 40])
@pytest.mark.parametrize("shared", [False, True])
def test_constrained_draws_against_plain_least_squares(coalitions, shared, monkeypatch):
    g = conv_game()
    rows = Recorded(g, monkeypatch)
    s = shapley.regression(g, coalitions, sampling="kernel", paired=False, shared=shared)
    masks, worth = rows.rows()
    full, empty = g.full.double().numpy(), g.empty.double().numpy()
    plane = np.eye(6) - 1 / 6
    for e in range(len(g)):
        rest = worth[:, e] - empty[e] - (full - empty)[e] / 6 * masks[:, e].sum(1)
        z = np.linalg.lstsq(masks[:, e] @ plane, rest, rcond=1e-9)[0]  # of least norm where there are few rows
        np.testing.assert_allclose(s.values[e], (full - empty)[e] / 6 + z, atol=2e-6)
    np.testing.assert_allclose(s.values.sum(1), full - empty, atol=1e-6)


@pytest.mark.parametrize("coalitions", [4, 10, 50])
def test_paper_b_against_plain_least_squares(coalitions, monkeypatch):
    g = conv_game(payoff="accuracy", count=20)
    rows = Recorded(g, monkeypatch)
    s = shapley.regression(g, coalitions, **PAPER_B)
    masks, worth = rows.rows()
    assert (masks == masks[:, :1]).all()
    _, different = np.unique(masks[:, 0], axis=0, return_index=True)  # duplicates collapse, as in a dictionary
    assert coalitions < 50 or len(different) < coalitions
    x, y = masks[different, 0].astype(float), worth[different]
    expected = np.linalg.lstsq(x - x.mean(0), y - y.mean(0), rcond=1e-9)[0].T
    np.testing.assert_allclose(s.values, expected, atol=2e-6)
    # The regression of the mean payoff is the mean of those of the examples.
    np.testing.assert_allclose(s.aggregate(), expected.mean(0), atol=2e-6)


@pytest.mark.parametrize("coalitions", [12, 60])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(("l1", "l2"), [(0.003, 0.0), (0.003, 0.02), (0.0, 0.02), (10.0, 0.0)])
def test_penalties_against_scikit_learn(coalitions, shared, l1, l2, monkeypatch):
    linear_model = pytest.importorskip("sklearn.linear_model")
    g = conv_game("fc")
    rows = Recorded(g, monkeypatch)
    options = {"sampling": "kernel", "paired": False, "constrained": False}
    s = shapley.regression(g, coalitions, shared=shared, l1=l1, l2=l2, **options)
    masks, worth = rows.rows()
    for e in range(len(g)):
        # 1 / (2 C) sum of squares + alpha (ratio sum |phi| + (1 - ratio) / 2 sum phi^2)
        if l1:
            model = linear_model.ElasticNet(alpha=l1 + l2, l1_ratio=l1 / (l1 + l2), tol=1e-12, max_iter=1_000_000)
        else:
            model = linear_model.Ridge(alpha=l2 * coalitions, tol=1e-12)
        model.fit(masks[:, e].astype(float), worth[:, e])
        np.testing.assert_allclose(s.values[e], model.coef_, atol=3e-6)
    assert (s.values == 0).any() == (l1 > 0)
    assert s.standard_error().isfinite().all()


def test_a_ridge_keeps_the_sum_and_pulls_towards_the_mean():
    g = conv_game()
    values = [shapley.regression(g, 40, l2=l2).values for l2 in (0.0, 0.05, 1e6)]
    for each in values:
        np.testing.assert_allclose(each.sum(1), (g.full - g.empty).double(), atol=1e-6)
    spread = [float(each.std(1).mean()) for each in values]
    assert spread[0] > spread[1] > spread[2]
    np.testing.assert_allclose(values[2], ((g.full - g.empty) / 6)[:, None].expand(-1, 6), atol=1e-5)


def test_a_lasso_that_does_not_settle_is_said(monkeypatch):
    module = importlib.import_module("shapprune.shapley.least_squares")
    monkeypatch.setattr(module, "_MOST_STEPS", 30)
    with pytest.warns(UserWarning, match=r"the lasso with l1 = 0.0001 is off by .* after 30 steps"):
        shapley.regression(conv_game("fc"), 6, constrained=False, paired=False, l1=1e-4)
