"""Ridge regression whose strength is chosen by leaving images out."""

from __future__ import annotations

import pytest
import torch

from shapprune.pruning import ridge
from shapprune.pruning.ridge import fit_ridge, left_out_error, principal_axes
from tests.toys import images


def test_the_ridge_is_the_best_for_images_left_out():
    """The closed form of leaving images out equals doing it."""
    x, y = images(5, (3, 4), seed=3).double(), images(5, (3, 2), seed=4).double()
    y += x[..., :2]
    for intercept in (False, True):
        for strength in (0.1, 10.0):

            def fit(some, x=x, y=y, intercept=intercept, strength=strength):
                a, b = x[some].flatten(0, 1), y[some].flatten(0, 1)
                center, shift = a.mean(0) * intercept, b.mean(0) * intercept
                a, b = a - center, b - shift
                weights = torch.linalg.solve(a.mT @ a + strength * torch.eye(4), a.mT @ b)
                return weights, shift - center @ weights

            expected = 0.0
            for left_out in range(5):
                weights, shift = fit([each for each in range(5) if each != left_out])
                expected += float((y[left_out] - x[left_out] @ weights - shift).square().sum())
            weights, shift = fit(slice(None))
            residuals = y - x @ weights - shift
            basis, eigenvalues = principal_axes(x - x.mean((0, 1)) * intercept)
            found = left_out_error(basis, 1 / (eigenvalues + strength), residuals, intercept / 15)
            assert found == pytest.approx(expected)


@pytest.mark.parametrize("features", [4, 40])  # fewer and more than rows
def test_the_ridge_solves_its_equations(features, monkeypatch):
    monkeypatch.setattr(ridge, "STRENGTHS", (0.5,))
    x, y = images(6, (3, features), seed=5).double(), images(6, (3, 2), seed=6).double() + 2
    change, shift = fit_ridge(x.clone(), y.clone(), intercept=True)
    a, b = (x - x.mean((0, 1))).flatten(0, 1), (y - y.mean((0, 1))).flatten(0, 1)
    strength = 0.5 * a.square().sum() / features
    expected = torch.linalg.solve(a.mT @ a + strength * torch.eye(features), a.mT @ b)
    torch.testing.assert_close(change, expected)
    torch.testing.assert_close(shift, y.mean((0, 1)) - x.mean((0, 1)) @ expected)
