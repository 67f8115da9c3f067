"""Criteria that look at weights, activations and gradients, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import shapprune
from benchmarks.max_network import MaxNetwork, squared_error
from shapprune import LayerGame
from tests.games import POINTS, max_game


def test_heuristics_on_the_max_network():
    g = max_game()
    np.testing.assert_allclose(shapprune.score(g, "weight-norm").aggregate(), [1, 2, 2, 2])
    np.testing.assert_allclose(shapprune.score(g, "weight_norm", norm="l2").aggregate() ** 2, [0.5, 2, 2, 2])
    np.testing.assert_allclose(shapprune.score(g, "apoz").aggregate(), [0.5, 0.5, 1, 1])
    np.testing.assert_allclose(shapprune.score(g, "sensitivity").aggregate(), [0, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(shapprune.score(g, "taylor").aggregate(), [0, 0, 0, 0], atol=1e-6)
    contributions = g.activations * torch.tensor([1.0, 0.5, 0.5, 0.0])
    np.testing.assert_allclose(shapprune.score(g, "leave-one-out").values, contributions**2, atol=1e-6)


def test_gradient_criteria_where_the_loss_is_not_zero():
    # With outgoing weight -0.1 for the last unit the outputs are y - 0.1 (x1 + x2), the error e = -0.1 (x1 + x2),
    # the gradient of the loss in the output 2 e, and in unit i 2 e w_i.
    model = MaxNetwork()
    with torch.no_grad():
        model.output.weight[0, 3] = -0.1
    g = LayerGame(model, "hidden", POINTS, POINTS.amax(1), payoff=squared_error)
    in_output = 2 * 0.1 * POINTS.sum(1)
    weights = torch.tensor([1.0, 0.5, 0.5, 0.1])
    np.testing.assert_allclose(shapprune.score(g, "sensitivity").values, in_output[:, None] * weights, rtol=1e-5)
    taylor = in_output[:, None] * torch.tensor([1.0, 0.5, 0.5, -0.1]) * g.activations
    np.testing.assert_allclose(shapprune.score(g, "taylor", signed=True).values, taylor, atol=1e-6)
    np.testing.assert_allclose(shapprune.score(g, "taylor").values, taylor.abs(), atol=1e-6)
    assert shapprune.score(g, "sensitivity").aggregate().tolist() == pytest.approx([0.4, 0.2, 0.2, 0.04])
