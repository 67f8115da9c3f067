"""Repairs after a removal: what they leave alone, and what is refused."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from shapprune import ShapPruneError, remove_units
from shapprune.data.vision import torchvision
from shapprune.pruning import batchnorm
from shapprune.pruning.repair import REPAIRS, repair
from tests.toys import images
from tests.unit.pruning.repaired import TOYS, network, removed_and_repaired


@pytest.mark.parametrize("name", TOYS)
@pytest.mark.parametrize("how", REPAIRS)
def test_what_is_left_alone(name, how):
    model, x, units = network(name)
    model.train()
    next(iter(model.children())).eval()
    before = copy.deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    small = remove_units(model, units, x)
    plain = copy.deepcopy(small.state_dict())
    random = torch.get_rng_state()
    assert repair(small, model, units, x, how) is small
    assert torch.equal(torch.get_rng_state(), random)
    assert [module.training for module in model.modules()] == modes
    assert [module.training for module in small.modules()] == modes
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(
        module._forward_hooks or module._forward_pre_hooks for module in (*small.modules(), *model.modules())
    )
    changed = {key for key, value in small.state_dict().items() if not torch.equal(value, plain[key])}
    if how == "none":
        assert not changed
    if how == "batchnorm":
        assert all(key.endswith(("running_mean", "running_var")) for key in changed)
        assert bool(changed) == (name != "lenet5")  # it has no BatchNorm
    if how == "least-squares":
        assert not any(key.endswith("running_var") for key in changed)
    again = removed_and_repaired(model, units, x, how)
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in small.state_dict().items())


@pytest.mark.parametrize("name", ["conv", "deep"])
def test_batches_change_nothing(name, monkeypatch):
    model, x, units = network(name, 7)
    whole = removed_and_repaired(model, units, x, "batchnorm")
    monkeypatch.setattr(batchnorm, "PASS", 1)  # one image at a time
    parts = removed_and_repaired(model, units, x, "batchnorm")
    for key, value in whole.state_dict().items():
        torch.testing.assert_close(parts.state_dict()[key], value, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("how", REPAIRS)
def test_a_chain_of_removals(how):
    model, x, units = network("conv")
    for layer in reversed(units):
        small = removed_and_repaired(model, {layer: units[layer]}, x, how)
        assert torch.isfinite(small.eval()(x)).all()
        model = small
    assert [model.features[0].out_channels, model.features[4].out_channels, model.fc.out_features] == [3, 4, 7]


def test_a_torchvision_network():
    torch.manual_seed(0)
    model, x = torchvision.models.mobilenet_v2(weights=None, num_classes=10).eval(), images(3, (3, 32, 32))
    units = {"features.2.conv.0.0": [0, 40]}
    plain, again = (remove_units(model, units, x) for _ in range(2))
    repair(again, model, units, x, "batchnorm")
    small = repair(copy.deepcopy(plain), model, units, x, "least-squares")
    changed = {key for key, value in small.state_dict().items() if not torch.equal(value, plain.state_dict()[key])}
    # from behind the depthwise convolution on, which loses two channels; only layers that are no depthwise ones
    assert {"features.2.conv.2.weight", "features.2.conv.3.running_mean"} < changed
    assert not any(
        key.startswith(("features.0", "features.1", "features.2.conv.0", "features.2.conv.1")) for key in changed
    )
    assert all(key.endswith(("weight", "running_mean")) or key == "classifier.1.bias" for key in changed)
    changed = {key for key, value in again.state_dict().items() if not torch.equal(value, plain.state_dict()[key])}
    assert {key.split(".")[1] for key in changed} == {str(place) for place in range(2, 19)}
    assert not any(key.startswith(("features.2.conv.0", "features.2.conv.1")) for key in changed)


def test_bad_repairs():
    model, x, units = network("conv")
    small = remove_units(model, units, x)
    with pytest.raises(ShapPruneError, match="unknown repair 'least squares'; did you mean 'least-squares'"):
        repair(small, model, units, x, "least squares")
    with pytest.raises(ShapPruneError, match="repair 'batchnorm' got 0 images"):
        repair(small, model, units, x[:0], "batchnorm")
    with pytest.raises(ShapPruneError, match=r"'features\.4' has 4 units left, but 6 of 6 "):
        repair(small, model, {"features.0": [1]}, x, "least-squares")
    linear = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2), nn.BatchNorm1d(2)).eval()
    with pytest.raises(ShapPruneError, match="BatchNorm '2' sees 1 value "):
        removed_and_repaired(linear, {"0": [1]}, images(1, (4,)), "batchnorm")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_where_nothing_is_lost_nothing_changes_on_cuda():
    model, x, _ = network("conv")
    with torch.no_grad():
        for part in (model.features[1].weight, model.features[1].bias):
            part[1] = 0  # what this unit puts out is 0 for all images
    model, x = model.cuda(), x.cuda()
    small = remove_units(model, {"features.0": [1]}, x)
    plain = copy.deepcopy(small.state_dict())
    repair(small, model, {"features.0": [1]}, x, "least-squares")
    assert all(torch.equal(value, plain[key]) for key, value in small.state_dict().items())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("how", REPAIRS)
def test_on_cuda(how):
    model, x, units = network("conv")
    expected = removed_and_repaired(model, units, x, how)
    found = removed_and_repaired(model.cuda(), units, x.cuda(), how)
    with torch.no_grad():
        torch.testing.assert_close(found(x.cuda()).cpu(), expected(x), atol=1e-2, rtol=1e-2)
