"""Ridge regression whose strength is chosen by leaving images out."""

from __future__ import annotations

import pytest
import torch

from shapprune.pruning import ridge
from shapprune.pruning.ridge import fit_ridge
from tests.toys import images


def fitted(x, y, strength, intercept):
    """Ridge regression, term by term."""
    a, b = x.flatten(0, 1), y.flatten(0, 1)
    center, shift = a.mean(0) * intercept, b.mean(0) * intercept
    a, b = a - center, b - shift
    features = a.shape[1]
    ridge = strength * a.square().sum() / features * torch.eye(features)
    weights = torch.linalg.solve(a.mT @ a + ridge, a.mT @ b)
    return weights, shift - center @ weights


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("features", [4, 30])  # fewer and more than rows
@pytest.mark.parametrize("count", [4, 7])
def test_the_strength_is_the_best_for_images_left_out(intercept, features, count):
    x, y = images(count, (3, features), seed=3).double(), images(count, (3, 2), seed=4).double()
    y += x[..., :2] + 1
    errors = []
    for strength in ridge.STRENGTHS:
        error = 0.0
        for fold in range(min(ridge.FOLDS, count)):
            held = list(range(fold, count, ridge.FOLDS))
            others = [each for each in range(count) if each not in held]
            weights, shift = fitted(x[others], y[others], strength, intercept)
            error += float((y[held] - x[held] @ weights - shift).square().sum())
        errors.append(error)
    expected = fitted(x, y, ridge.STRENGTHS[errors.index(min(errors))], intercept)
    found = fit_ridge(x, y, intercept)
    assert features > 4 or min(errors) < float(y.square().sum())
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("features", [4, 60])  # fewer and more than rows
def test_images_are_left_out_with_their_copies(features):
    x = images(7, (2, 3), seed=3).double() @ images(3, (features,), seed=5).double()
    x, y = x + 0.3 * images(7, (2, features), seed=6), x[..., :2] + images(7, (2, 2), seed=4)
    twice, same = torch.cat([x, x]), torch.arange(14) % 7
    known, found = fit_ridge(twice, torch.cat([y, y]), True), fit_ridge(twice, torch.cat([y, y]), True, same)
    for one, other in zip(found, fit_ridge(x, y, True), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)
    assert features == 4 or not torch.allclose(known[0], found[0])  # who has seen a copy trusts too much


def test_nothing_is_fitted_where_that_is_better_for_images_left_out():
    x, y = images(6, (4, 3), seed=3).double(), images(6, (4, 2), seed=9).double()
    y -= y.mean((0, 1))
    assert fit_ridge(x, y, intercept=True) is None


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
