"""Which parameters are looked at, and by which names."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from shapprune import ShapPruneError
from shapprune.parameters.choice import axis_of_rows, choose_parameters, first_names
from tests.toys import ConvNetwork
from tests.unit.transformers import CASES, build


def tied():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3, bias=False))
    model[1].weight = model[0].weight
    return model


def test_shared_parameters_have_the_name_of_their_first_use():
    assert first_names(tied()) == {"0.weight": "0.weight", "0.bias": "0.bias", "1.weight": "0.weight"}
    chosen = choose_parameters(tied(), ["1.weight"])
    assert list(chosen.weights) == ["0.weight"]
    assert chosen.tied == {"1.weight": "0.weight"}
    assert choose_parameters(tied(), ["0.bias"]).tied == {}


def test_weights_share_memory_but_no_gradient_with_those_of_the_network():
    model = tied()
    (weight,) = choose_parameters(model, ["0.weight"]).weights.values()
    assert weight.data_ptr() == model[0].weight.data_ptr()
    weight.sum().backward()
    assert model[0].weight.grad is None


def test_all_floating_point_parameters_are_chosen_unless_said_otherwise():
    model = ConvNetwork()
    model.fc.requires_grad_(False)
    model.codes = nn.Parameter(torch.zeros(2, dtype=torch.int8), requires_grad=False)
    assert list(choose_parameters(model).weights) == [name for name, _ in model.named_parameters() if name != "codes"]


def test_rows_of_a_transposed_weight():
    model = build(CASES["gpt2"])
    assert axis_of_rows(model, "transformer.h.0.mlp.c_fc.weight") == 1
    assert axis_of_rows(model, "transformer.h.0.mlp.c_fc.bias") == 0
    assert axis_of_rows(model, "transformer.wte.weight") == 0


@pytest.mark.parametrize(
    ("model", "names", "message"),
    [
        (ConvNetwork(), ["fc.wieght"], "unknown parameter 'fc.wieght'; did you mean 'fc.weight'?"),
        (ConvNetwork(), ["features.1.running_mean"], "unknown parameter"),
        (nn.ReLU(), None, "ReLU has no floating-point parameters"),
        (nn.ParameterList([nn.Parameter(torch.zeros(1).cfloat())]), ["0"], "parameter '0' is torch.complex64"),
    ],
)
def test_what_cannot_be_chosen_is_refused(model, names, message):
    with pytest.raises(ShapPruneError) as error:
        choose_parameters(model, names)
    assert message in str(error.value)
