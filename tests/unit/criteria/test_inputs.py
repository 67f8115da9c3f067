"""Criteria that look at what readers get: values by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from shapprune import LayerGame, score
from tests.unit.transformers import CASES, build


def test_values_are_those_of_the_formulas():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    images = torch.randn(50, 5)
    game = LayerGame(model, "0", images, torch.zeros(50, dtype=torch.long))
    with torch.no_grad():
        inputs, weight = model[:2](images).double(), model[2].weight.double()
    spread = (inputs - inputs.mean(0)).square().sum(0)
    assert torch.allclose(score(game, "fluctuation").values[0], spread * weight.square().sum(0))
    norms = inputs.norm(dim=0)
    assert torch.allclose(score(game, "wanda").values[0], norms * weight.abs().sum(0))


@pytest.mark.parametrize("criterion", ["fluctuation", "wanda", "weight-norm", "fpgm", "snip"])
def test_a_head_has_the_sum_over_its_numbers(criterion):
    case = CASES["torchvision vit"]
    model = build(case)
    game = LayerGame(model, case.heads[0], case.inputs, torch.tensor([0, 1, 2]))
    values = score(game, criterion).values
    assert values.shape == (1, 4)
    assert (values > 0).all()
    assert len(values.unique()) == 4


def test_weights_of_a_head_are_its_queries_keys_and_values():
    case = CASES["torchvision vit"]
    model = build(case)
    attention = model.get_submodule(case.heads[0])
    rows = attention.in_proj_weight.detach().double().reshape(3, 4, 8, 32)
    found = score(LayerGame(model, case.heads[0], case.inputs, torch.zeros(3, dtype=torch.long)), "weight-norm")
    assert torch.allclose(found.values[0], rows.abs().sum((0, 2, 3)))
