"""Deactivated rows and units, by hand and against removal."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from shapprune import ShapPruneError, remove_units
from shapprune.networks.losses import logits_of
from shapprune.parameters.deactivation import deactivate
from shapprune.parameters.units import Pools
from tests.toys import ConvNetwork, images, randomise
from tests.unit.transformers import CASES, build


def scores_of(count):
    return torch.randperm(count, generator=torch.Generator().manual_seed(0)).double()


def test_the_lowest_rows_of_every_matrix_are_zero_and_no_others():
    model = randomise(ConvNetwork()).eval()
    before = copy.deepcopy(model.state_dict())
    scores = {"features.4.weight": torch.tensor([3.0, -1, 5, 0, 4, 2]), "fc.weight": torch.arange(8.0).flip(0)}
    small = deactivate(model, scores, 0.5)
    gone = {"features.4": [1, 3, 5], "fc": [4, 5, 6, 7]}
    for name, each in small.named_parameters():
        expected = before[name].clone()
        expected[gone.get(name.rpartition(".")[0], [])] = 0
        assert torch.equal(each, expected)
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())


def test_a_share_is_rounded_down_and_ties_leave_by_index():
    model = nn.Linear(2, 7)
    assert deactivate(model, {"weight": torch.zeros(7)}, 0.3).weight.any(1).tolist() == [False] * 2 + [True] * 5
    assert deactivate(model, {"weight": torch.zeros(7)}, 0.1).weight.any(1).all()


@pytest.mark.parametrize("layer", ["features.0", "features.4", "fc"])
def test_deactivated_units_are_as_if_removed(layer):
    model = randomise(ConvNetwork()).eval()
    scores = scores_of({"features.0": 4, "features.4": 6, "fc": 8}[layer])
    pools = Pools(model, images(2))
    left = [deactivate(model, {layer: scores}, 0.5, example) for example in (pools, images(2), pools)][-1]
    small = remove_units(model, {layer: scores.argsort()[: len(scores) // 2]}, images(2))
    x = images(5)
    torch.testing.assert_close(left(x), small(x))
    assert not torch.allclose(left(x), model(x))


def test_rows_of_units_are_those_of_their_layer_alone():
    model, scores = randomise(ConvNetwork()).eval(), scores_of(6)
    units = deactivate(model, {"features.4": scores}, 0.5, images(2), scope="rows").state_dict()
    rows = deactivate(model, {"features.4.weight": scores}, 0.5).state_dict()
    assert all(torch.equal(each, rows[name]) for name, each in units.items())
    case = CASES["gpt2"]
    model, layer = build(case), case.heads[0]
    left = deactivate(model, {layer: scores_of(case.groups)}, 0.5, case.inputs, scope="rows").state_dict()
    changed = [name for name, each in model.state_dict().items() if not torch.equal(each, left[name])]
    assert changed
    assert all(name.startswith(f"{layer}.c_attn.") for name in changed)


@pytest.mark.parametrize("name", ["gpt2", "torchvision vit"])
def test_deactivated_neurons_and_heads_are_as_if_removed(name):
    case = CASES[name]
    model = build(case)
    neurons = model.get_submodule(case.neurons[1]).weight.shape[int(not case.transposed)]
    scores = {case.neurons[0]: scores_of(neurons), case.heads[0]: scores_of(case.groups)}
    left = deactivate(model, scores, 0.5, case.inputs)
    gone = {layer: each.argsort()[: len(each) // 2] for layer, each in scores.items()}
    small = remove_units(model, gone, case.inputs)
    found, expected, before = (logits_of(each(case.inputs)) for each in (left, small, model))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)  # sums in another order
    assert (found - before).abs().max() > 0.01


def test_a_shared_weight_stays_shared():
    model = nn.Sequential(nn.Embedding(4, 3), nn.Linear(3, 4, bias=False))
    model[1].weight = model[0].weight
    left = deactivate(model, {"1.weight": torch.arange(4.0)}, 0.25)
    assert left[0].weight is left[1].weight
    assert left[0].weight.any(1).tolist() == [False, True, True, True]


@pytest.mark.parametrize(
    ("scores", "options", "message"),
    [
        ({"fc.weight": torch.zeros(8)}, {"share": 0}, "share 0 is not strictly between 0 and 1"),
        ({"fc.weight": torch.zeros(8)}, {"share": 1.0}, "share 1.0 is not strictly between 0 and 1"),
        ({}, {"share": 0.5}, "there are no scores"),
        ({"fc.weight": torch.zeros(7)}, {"share": 0.5}, r"are \[7\], 8 finite numbers are needed"),
        ({"fc.weight": torch.full((8,), torch.nan)}, {"share": 0.5}, "8 finite numbers are needed"),
        ({"fc": torch.zeros(8)}, {"share": 0.5}, "unknown matrix 'fc'; allowed: fc.weight, "),
        ({"fc.bias": torch.zeros(8)}, {"share": 0.5}, "unknown matrix 'fc.bias'"),
        ({"fcc": torch.zeros(8)}, {"share": 0.5, "example": images(2)}, "unknown layer 'fcc'; did you mean 'fc'?"),
        ({"fc": torch.zeros(8)}, {"share": 0.5, "example": images(2), "scope": "row"}, "unknown scope 'row'"),
    ],
)
def test_what_cannot_be_deactivated_is_refused(scores, options, message):
    with pytest.raises(ShapPruneError, match=message):
        deactivate(ConvNetwork().eval(), scores, **options)
