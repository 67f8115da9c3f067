"""Optimizers that go on after units were removed."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from shapprune import ShapPruneError, remove_units
from shapprune.networks.builders import build
from shapprune.pruning.optimizer import carry_optimizer
from tests.toys import ConvNetwork, ResidualNetwork, images, labels, randomise


def train(model, optimizer, x, steps):
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), labels(len(x))).backward()
        optimizer.step()


@pytest.mark.parametrize(
    "make",
    [
        lambda parameters: torch.optim.SGD(parameters, lr=0.01, momentum=0.9, weight_decay=1e-3),
        lambda parameters: torch.optim.Adam(parameters, lr=0.01, amsgrad=True),
        lambda parameters: torch.optim.SGD(parameters, lr=0.01),
    ],
)
@pytest.mark.parametrize(
    ("model", "units"),
    [(ConvNetwork(), {"features.4": [0, 3], "fc": [5]}), (ResidualNetwork(), {"stem": [1], "conv2": [1]})],
)
def test_an_optimizer_goes_on_with_what_is_left(make, model, units):
    model, x = randomise(copy.deepcopy(model)).eval(), images(6)
    optimizer = make(model.parameters())
    train(model, optimizer, x, 3)
    untouched = copy.deepcopy(optimizer.state_dict())
    small = remove_units(model, units, x)
    carried = carry_optimizer(optimizer, model, small, units, x)

    after = dict(small.named_parameters())
    assert [each for group in carried.param_groups for each in group["params"]] == list(after.values())
    assert type(carried) is type(optimizer)
    assert carried.param_groups[0]["lr"] == 0.01
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state[parameter].items():
            if not isinstance(value, torch.Tensor):
                continue
            slim = carried.state[after[name]][key]
            assert slim.shape == (after[name].shape if value.shape == parameter.shape else value.shape)
            if value.shape == slim.shape:
                assert torch.equal(value, slim)
    last = "fc" if "fc" in units else "stem"
    weight = dict(model.named_parameters())[f"{last}.bias"]
    for key, value in optimizer.state[weight].items():
        if isinstance(value, torch.Tensor) and value.shape == weight.shape:
            left = [unit for unit in range(len(weight)) if unit not in units[last]]
            assert torch.equal(carried.state[after[f"{last}.bias"]][key], value[left])
    train(small, carried, x, 2)
    for key, value in optimizer.state_dict()["state"].items():
        for name, number in value.items():
            assert torch.equal(torch.as_tensor(number), torch.as_tensor(untouched["state"][key][name]))


def test_masked_and_sliced_networks_train_alike():
    """One step of SGD with momentum from the same state: the units left get the same weights."""
    model, x = randomise(build("lenet5")).eval(), images(6, (1, 28, 28))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    train(model, optimizer, x, 2)
    units = {"fc2": [0, 7]}
    small = remove_units(model, units, x)
    carried = carry_optimizer(optimizer, model, small, units, x)
    before = copy.deepcopy(small.state_dict())
    train(small, carried, x, 1)
    left = [unit for unit in range(25) if unit not in units["fc2"]]
    momentum = optimizer.state[model.fc2.weight]["momentum_buffer"][left]
    moved = before["fc2.weight"] - small.fc2.weight
    gradient = small.fc2.weight.grad
    torch.testing.assert_close(moved, 0.01 * (0.9 * momentum + gradient), atol=1e-7, rtol=1e-4)


def test_an_optimizer_of_another_network_is_refused():
    model, x = ConvNetwork(), images(2)
    small = remove_units(model, {"fc": [0]}, x)
    with pytest.raises(ShapPruneError, match="not the model's"):
        carry_optimizer(torch.optim.SGD(ConvNetwork().parameters(), lr=0.1), model, small, {"fc": [0]}, x)
