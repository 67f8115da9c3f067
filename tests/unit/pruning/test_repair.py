"""Repairs after a removal: what is left stands in for what left, by statistics or by least squares."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from shapprune import ShapPruneError, remove_units
from shapprune.data.vision import torchvision
from shapprune.networks.builders import build
from shapprune.pruning import repair
from shapprune.pruning.repair import REPAIRS
from tests.toys import ConvNetwork, ResidualNetwork, images, randomise


class Deep(nn.Sequential):
    """Three convolutions, each with a BatchNorm, and a linear layer."""

    def __init__(self):
        super().__init__()
        for place, (before, after) in enumerate([(1, 5), (5, 4), (4, 3)]):
            self.add_module(f"conv{place}", nn.Conv2d(before, after, 3, padding=1, bias=False))
            self.add_module(f"norm{place}", nn.BatchNorm2d(after))
            self.add_module(f"relu{place}", nn.ReLU(inplace=True))
        self.add_module("flatten", nn.Flatten())
        self.add_module("output", nn.Linear(3 * 64, 3))


# Network -> images, and for each layer that loses units which ones, and where it shows: at the layer that reads them,
# or behind the BatchNorm that has to do for its bias.
TOYS = {
    "conv": (
        ConvNetwork,
        (1, 8, 8),
        {"features.0": ([1], "features.4"), "features.4": ([0, 3], "fc"), "fc": ([2], "output")},
    ),
    "deep": (Deep, (1, 8, 8), {"conv0": ([0, 3], "norm1"), "conv1": ([2], "norm2"), "conv2": ([1], "output")}),
    "residual": (ResidualNetwork, (1, 8, 8), {"conv1": ([1, 3], "bn2")}),
    "lenet5": (
        lambda: build("lenet5", shape=(1, 28, 28), widths=[4, 6, 8, 5]),
        (1, 28, 28),
        {"conv1": ([3], "conv2"), "conv2": ([0, 4], "fc1"), "fc1": ([5], "fc2"), "fc2": ([0, 1], "output")},
    ),
}


def network(name, count=8):
    """A network of known weights, images, and units of several layers that can leave."""
    make, shape, readers = TOYS[name]
    return randomise(make()).eval(), images(count, shape), {layer: units for layer, (units, _) in readers.items()}


def removed_and_repaired(model, units, x, how):
    return repair.repair(remove_units(model, units, x), model, units, x, how)


def at(model, name, x, outputs=True):
    """What a layer puts out, or takes in, in eval mode."""
    seen = []
    hook = model.get_submodule(name).register_forward_hook(
        lambda _, a, b: seen.append((b if outputs else a[0]).clone())
    )
    was = model.training
    with torch.no_grad():
        model.eval()(x)
    model.train(was)
    hook.remove()
    return seen[0]


class Halves(nn.Module):
    """Two linear layers, or convolutions, without anything between; the last of four units is 2 a - b + 1."""

    def __init__(self, conv: bool, bias: bool = True):
        super().__init__()
        self.a = nn.Conv2d(2, 4, 3, padding=1) if conv else nn.Linear(6, 4)
        self.b = nn.Conv2d(4, 3, 3, 2, padding=0, dilation=2, bias=bias) if conv else nn.Linear(4, 3, bias=bias)
        self.norm = nn.BatchNorm2d(3) if conv else nn.BatchNorm1d(3)
        randomise(self)
        with torch.no_grad():
            for values in self.a.parameters():
                values[3] = 2 * values[0] - values[1]
            self.a.bias[3] += 1

    def forward(self, x):
        return torch.flatten(self.norm(self.b(self.a(x))), 1)


@pytest.mark.parametrize("conv", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_a_unit_that_others_can_make_is_not_missed(conv, bias):
    model = Halves(conv, bias).eval()
    x = images(30, (2, 9, 9) if conv else (6,))
    before, variance = model.norm.running_mean.clone(), model.norm.running_var.clone()
    small = removed_and_repaired(model, {"a": [3]}, x, "least-squares")
    with torch.no_grad():
        torch.testing.assert_close(small(x), model(x), atol=1e-4, rtol=0)
        weight, old = small.b.weight, model.b.weight
        torch.testing.assert_close(weight[:, 0], old[:, 0] + 2 * old[:, 3], atol=1e-4, rtol=0)
        torch.testing.assert_close(weight[:, 1], old[:, 1] - old[:, 3], atol=1e-4, rtol=0)
        torch.testing.assert_close(weight[:, 2], old[:, 2], atol=1e-4, rtol=0)
        shift = old[:, 3].reshape(3, -1).sum(1)  # the 1 goes into the bias, or out of the running mean
        if bias:
            torch.testing.assert_close(small.b.bias, model.b.bias + shift, atol=1e-4, rtol=0)
            assert torch.equal(small.norm.running_mean, before)
        else:
            torch.testing.assert_close(small.norm.running_mean, before - shift, atol=1e-4, rtol=0)
    assert torch.equal(small.norm.running_var, variance)


def test_without_a_bias_to_refit_there_is_none():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
        model[0].bias.copy_(torch.tensor([0.0, 1.0]))  # the second unit is always 1
        model[1].weight.copy_(torch.tensor([[1.0, 3.0]]))
    x = torch.tensor([[1.0, 0.0], [3.0, 0.0], [2.0, 0.0]])
    small = removed_and_repaired(model, {"0": [1]}, x, "least-squares")
    # 3 = w x is best at w = 3 (1 + 3 + 2) / (1 + 9 + 4), and some ridge makes it less
    assert 1 < small[1].weight.item() <= 1 + 18 / 14 + 1e-6


def test_a_duplicate_channel_hands_its_weights_over():
    model = randomise(ConvNetwork()).eval()
    with torch.no_grad():
        for values in [*model.features[0].parameters(), *model.features[1].state_dict().values()]:
            if values.dim():
                values[2] = values[1]
    x = images(40)
    small = removed_and_repaired(model, {"features.0": [2]}, x, "least-squares")
    plain = remove_units(model, {"features.0": [2]}, x)
    with torch.no_grad():
        torch.testing.assert_close(small(x), model(x), atol=1e-4, rtol=0)
        assert (plain(x) - model(x)).abs().max() > 0.01
    torch.testing.assert_close(
        small.features[4].weight[:, 1], model.features[4].weight[:, 1:3].sum(1), atol=1e-3, rtol=0
    )


def test_weights_stay_where_no_refit_is_better_for_images_left_out():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(2))
        model[0].bias.zero_()
        model[1].weight.copy_(torch.tensor([[1.0, 1.0]]))
    x = torch.tensor([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])  # one unit tells nothing of the other
    small = removed_and_repaired(model, {"0": [1]}, x, "least-squares")
    assert small[1].weight.item() == 1
    assert small[1].bias.item() == model[1].bias.item()


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
            basis, eigenvalues = repair._principal_axes(x - x.mean((0, 1)) * intercept)
            found = repair._left_out(basis, 1 / (eigenvalues + strength), residuals, intercept / 15)
            assert found == pytest.approx(expected)


@pytest.mark.parametrize("features", [4, 40])  # fewer and more than rows
def test_the_ridge_solves_its_equations(features, monkeypatch):
    monkeypatch.setattr(repair, "_STRENGTHS", (0.5,))
    x, y = images(6, (3, features), seed=5).double(), images(6, (3, 2), seed=6).double() + 2
    change, shift = repair._ridge(x.clone(), y.clone(), intercept=True)
    a, b = (x - x.mean((0, 1))).flatten(0, 1), (y - y.mean((0, 1))).flatten(0, 1)
    strength = 0.5 * a.square().sum() / features
    expected = torch.linalg.solve(a.mT @ a + strength * torch.eye(features), a.mT @ b)
    torch.testing.assert_close(change, expected)
    torch.testing.assert_close(shift, y.mean((0, 1)) - x.mean((0, 1)) @ expected)


@pytest.mark.parametrize("count", [1, 2, 8])
@pytest.mark.parametrize("name", TOYS)
def test_outputs_come_nearer_to_those_before(name, count):
    model, x, units = network(name, count)
    for layer, (_, reader) in TOYS[name][2].items():
        plain, small = (removed_and_repaired(model, {layer: units[layer]}, x, how) for how in ("none", "least-squares"))
        target = at(model, reader, x)
        before, after = (float((at(each, reader, x) - target).norm()) for each in (plain, small))
        assert after <= before * (1 + 1e-6)
        changed = [key for key, value in small.state_dict().items() if not torch.equal(value, plain.state_dict()[key])]
        assert bool(changed) == (after < before)
        assert len(changed) <= 2  # a weight, and a bias or a running mean


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
    assert repair.repair(small, model, units, x, how) is small
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


def test_statistics_are_those_of_the_images():
    model, x, units = network("conv", 7)
    units = {"features.0": units["features.0"]}
    plain, small = (removed_and_repaired(model, units, x, how) for how in ("none", "batchnorm"))
    seen = at(plain, "features.5", x, outputs=False)
    torch.testing.assert_close(small.features[5].running_mean, seen.mean((0, 2, 3)))
    torch.testing.assert_close(small.features[5].running_var, seen.var((0, 2, 3)))


def test_a_later_norm_sees_the_new_statistics_of_an_earlier_one():
    model, x, _ = network("deep")
    small = removed_and_repaired(model, {"conv0": [1, 2]}, x, "batchnorm")
    for name in ("norm1", "norm2"):
        seen, norm = at(small, name, x, outputs=False), small.get_submodule(name)
        torch.testing.assert_close(norm.running_mean, seen.mean((0, 2, 3)), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(norm.running_var, seen.var((0, 2, 3)), atol=1e-5, rtol=1e-4)
    # that of the pruned layer sees what it saw
    kept = [0, 3, 4]
    assert torch.equal(small.norm0.running_mean, model.norm0.running_mean[kept])
    assert torch.equal(small.norm0.running_var, model.norm0.running_var[kept])


@pytest.mark.parametrize("name", ["conv", "deep"])
@pytest.mark.parametrize("how", ["batchnorm", "least-squares"])
def test_batches_change_nothing(name, how, monkeypatch):
    model, x, units = network(name, 7)
    whole = removed_and_repaired(model, units, x, how)
    monkeypatch.setattr(repair, "_BATCH", 3)
    monkeypatch.setattr(repair, "_PASS", 1)  # one image at a time
    parts = removed_and_repaired(model, units, x, how)
    for key, value in whole.state_dict().items():
        torch.testing.assert_close(parts.state_dict()[key], value, atol=1e-4, rtol=1e-4)


def test_a_refit_looks_at_no_more_than_it_may(monkeypatch):
    model, x, units = network("conv", 20)
    sizes = []
    ridge = repair._ridge

    def note(seen, missing, intercept):
        sizes.append(tuple(seen.shape))
        return ridge(seen, missing, intercept)

    monkeypatch.setattr(repair, "_ridge", note)
    removed_and_repaired(model, units, x, "least-squares")
    assert sizes == [(20, 16, 27), (20, 1, 16), (20, 1, 7)]
    sizes.clear()
    monkeypatch.setattr(repair, "_NUMBERS", 300)
    monkeypatch.setattr(repair, "_POSITIONS", 4)
    removed_and_repaired(model, units, x, "least-squares")
    assert sizes == [(10, 1, 27), (10, 1, 16), (20, 1, 7)]


def test_a_norm_without_statistics_is_left():
    model, x, units = network("conv")
    model.features[5] = nn.BatchNorm2d(6, track_running_stats=False)
    assert removed_and_repaired(model, {"features.0": [1]}, x, "batchnorm").features[5].running_mean is None
    removed_and_repaired(model, units, x, "least-squares")


class Uses(nn.Module):
    """A stem and a depthwise convolution, read by two convolutions of odd paddings that a concatenation joins."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding="same", padding_mode="reflect")
        self.depth = nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.left = nn.Conv2d(4, 3, 3, padding="same")
        self.right = nn.Conv2d(4, 3, 3, padding=1, padding_mode="circular", bias=False)
        self.output = nn.Linear(6, 3)

    def forward(self, x):
        x = torch.relu(self.depth(self.stem(x)))
        return self.output(torch.relu(torch.cat([self.left(x), self.right(x)], 1)).mean((2, 3)))


def test_every_reader_is_refitted():
    model, x = randomise(Uses()).eval(), images(8)
    plain, small = (removed_and_repaired(model, {"stem": [2]}, x, how) for how in ("none", "least-squares"))
    for name in ("left", "right"):
        target = at(model, name, x)
        assert (at(small, name, x) - target).norm() < 0.95 * (at(plain, name, x) - target).norm()
    for name in ("stem", "depth", "output"):
        assert torch.equal(small.get_submodule(name).weight, plain.get_submodule(name).weight)


def test_layers_that_read_lost_units_and_lose_some_themselves():
    model, x, _ = network("residual")
    units = {"stem": [0], "conv2": [0], "conv1": [3]}  # the first two are tied by the sum
    plain, small = (removed_and_repaired(model, units, x, how) for how in ("none", "least-squares"))
    for name, kept in (("bn1", [0, 1, 2, 4]), ("bn2", [1, 2, 3]), ("output", [0, 1, 2])):
        target = at(model, name, x)[:, kept]
        assert (at(small, name, x) - target).norm() < 0.95 * (at(plain, name, x) - target).norm()


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
    repair.repair(again, model, units, x, "batchnorm")
    small = repair.repair(copy.deepcopy(plain), model, units, x, "least-squares")
    changed = {key for key, value in small.state_dict().items() if not torch.equal(value, plain.state_dict()[key])}
    # behind the depthwise convolution, which loses two channels
    assert changed == {"features.2.conv.2.weight", "features.2.conv.3.running_mean"}
    changed = {key for key, value in again.state_dict().items() if not torch.equal(value, plain.state_dict()[key])}
    assert {key.split(".")[1] for key in changed} == {str(place) for place in range(2, 19)}
    assert not any(key.startswith(("features.2.conv.0", "features.2.conv.1")) for key in changed)


def test_bad_repairs():
    model, x, units = network("conv")
    small = remove_units(model, units, x)
    with pytest.raises(ShapPruneError, match="unknown repair 'least squares'; did you mean 'least-squares'"):
        repair.repair(small, model, units, x, "least squares")
    with pytest.raises(ShapPruneError, match="'batchnorm' was given no images, it needs 1 or more"):
        repair.repair(small, model, units, x[:0], "batchnorm")
    with pytest.raises(ShapPruneError, match=r"'features\.4' has 4 units left, but 6 of 6 are not among those given"):
        repair.repair(small, model, {"features.0": [1]}, x, "least-squares")
    linear = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2), nn.BatchNorm1d(2)).eval()
    with pytest.raises(ShapPruneError, match="BatchNorm '2' sees 1 value of each channel, it needs 2 or more"):
        removed_and_repaired(linear, {"0": [1]}, images(1, (4,)), "batchnorm")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("how", REPAIRS)
def test_on_cuda(how):
    model, x, units = network("conv")
    expected = removed_and_repaired(model, units, x, how)
    found = removed_and_repaired(model.cuda(), units, x.cuda(), how)
    with torch.no_grad():
        torch.testing.assert_close(found(x.cuda()).cpu(), expected(x), atol=1e-2, rtol=1e-2)
