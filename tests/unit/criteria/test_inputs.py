"""Criteria that look at what readers get: values by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from shapprune import LayerGame, ShapPruneError, score
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


def test_all_weights_that_leave_with_a_unit_count():
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=4), nn.Flatten()
    model = nn.Sequential(*layers, nn.Linear(4 * 16, 3)).eval()
    images, labels = torch.randn(6, 1, 8, 8), torch.tensor([0, 1, 2, 0, 1, 2])
    torch.nn.functional.cross_entropy(model(images), labels).backward()
    with torch.no_grad():
        one, depthwise, last = ((each.weight * each.weight.grad).abs() for each in (model[0], model[3], model[5]))
        expected = sum(each.flatten(1).sum(1) for each in (one, depthwise, last.sum(0).reshape(4, 16)))
    found = score(LayerGame(model, "0", images, labels), "weight-taylor").values[0]
    torch.testing.assert_close(found, expected.double())


def test_the_second_order_is_by_single_images():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    images, labels = torch.randn(6, 5), torch.tensor([0, 1, 2, 0, 1, 2])
    weights, slopes = [model[0].weight, model[2].weight], []
    for image, label in zip(images.split(1), labels.split(1), strict=True):
        slopes.append(torch.autograd.grad(nn.functional.cross_entropy(model(image), label), weights))
    with torch.no_grad():
        change = []  # of the loss if a weight were zero: of all weights of a layer
        for weight, some in zip(weights, zip(*slopes, strict=True), strict=True):
            single = torch.stack(some)
            change.append((weight**2 * single.square().mean(0) / 2 - weight * single.mean(0)).abs())
        expected = change[0].sum(1) + change[1].sum(0)
    found = score(LayerGame(model, "0", images, labels), "weight-taylor", order=2).values[0]
    torch.testing.assert_close(found, expected.double(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("criterion", ["weight-taylor", "wanda", "reconstruction"])
def test_a_convolution_of_groups_that_reads_the_units_is_named(criterion):
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3, groups=2), nn.Flatten(), nn.Linear(96, 3))
    game = LayerGame(model.eval(), "0", torch.randn(3, 1, 8, 8), torch.tensor([0, 1, 2]))
    with pytest.raises(ShapPruneError, match="units of layer '0' are read by '2', a convolution of 2 groups"):
        score(game, criterion)


def test_the_other_half_of_a_gated_unit_counts():
    case = CASES["llama"]
    model, tokens = build(case), case.inputs
    layer = "model.layers.0.mlp.gate_proj"
    game = LayerGame(model, layer, tokens, tokens.roll(-1, 1))
    before = score(game, "weight-taylor").values
    with torch.no_grad():
        model.get_submodule("model.layers.0.mlp.up_proj").weight[2] *= 3
    after = score(LayerGame(model, layer, tokens, tokens.roll(-1, 1)), "weight-taylor").values
    assert after[0, 2] > before[0, 2]


@pytest.mark.parametrize("criterion", ["fluctuation", "wanda", "weight-norm", "fpgm", "snip", "weight-taylor"])
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
