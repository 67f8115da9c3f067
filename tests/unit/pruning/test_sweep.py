"""Weights of the layers whose inputs have changed, fitted in one sweep."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from shapprune import remove_units
from shapprune.graph.dependents import Dependencies
from shapprune.graph.prunable import describe_layer
from shapprune.graph.unit_graph import UnitGraph
from shapprune.pruning import sweep
from tests.toys import ConvNetwork, images, randomise
from tests.unit.pruning.repaired import TOYS, at, network, removed_and_repaired


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


def test_a_refit_looks_at_no_more_than_it_may(monkeypatch):
    model, x, units = network("conv", 20)
    sizes = []
    ridge = sweep.fit_ridge

    def note(seen, missing, *others):
        sizes.append(tuple(seen.shape))
        return ridge(seen, missing, *others)

    monkeypatch.setattr(sweep, "fit_ridge", note)
    removed_and_repaired(model, units, x, "least-squares")
    assert sizes == [(20, 16, 27), (20, 1, 16), (20, 1, 7)]
    sizes.clear()
    monkeypatch.setattr(sweep, "NUMBERS", 300)
    monkeypatch.setattr(sweep, "POSITIONS", 4)
    removed_and_repaired(model, units, x, "least-squares")
    assert sizes == [(10, 1, 27), (10, 1, 16), (20, 1, 7)]


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


def test_every_layer_whose_inputs_have_changed_is_fitted():
    model, x = randomise(Uses()).eval(), images(8)
    plain, small = (removed_and_repaired(model, {"stem": [2]}, x, how) for how in ("none", "least-squares"))
    for name in ("left", "right", "output"):
        target = at(model, name, x)
        assert (at(small, name, x) - target).norm() < 0.95 * (at(plain, name, x) - target).norm()
    for name in ("stem", "depth"):
        assert torch.equal(small.get_submodule(name).weight, plain.get_submodule(name).weight)


def test_layers_that_read_lost_units_and_lose_some_themselves():
    model, x, _ = network("residual")
    units = {"stem": [0], "conv2": [0], "conv1": [3]}  # the first two are tied by the sum
    plain, small = (removed_and_repaired(model, units, x, how) for how in ("none", "least-squares"))
    for name, kept in (("bn1", [0, 1, 2, 4]), ("bn2", [1, 2, 3]), ("output", [0, 1, 2])):
        target = at(model, name, x)[:, kept]
        assert (at(small, name, x) - target).norm() < 0.95 * (at(plain, name, x) - target).norm()


class Block(nn.Module):
    """A residual block in which a stem loses units, and so the shortcut."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 5, 3, padding=1)
        self.shortcut = nn.Conv2d(5, 3, 1)
        self.a, self.b = nn.Conv2d(5, 6, 3, padding=1), nn.Conv2d(6, 3, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(3)
        self.output = nn.Linear(3, 3)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        x = self.norm(self.b(torch.relu(self.a(x)))) + self.shortcut(x)
        return self.output(x.mean((2, 3)))


def test_a_fit_aims_at_the_sum_of_a_residual_block():
    """What the shortcut has lost is made up for by the other branch, unless each layer is fitted to its own outputs."""
    model, x, units = randomise(Block()).eval(), images(30), {"stem": [0, 1]}
    aware, plain = removed_and_repaired(model, units, x, "least-squares"), remove_units(model, units, x).eval()
    graph = UnitGraph(model, x[:2])
    sweep.sweep(plain, graph, Dependencies(graph.traced, x[:2], graph), units, x, sums=False)

    def of_sum(network):
        with torch.no_grad():
            hidden = torch.relu(network.stem(x))
            return network.norm(network.b(torch.relu(network.a(hidden)))) + network.shortcut(hidden)

    target = of_sum(model)
    assert (of_sum(aware) - target).norm() < 0.98 * (of_sum(plain) - target).norm()


@pytest.mark.parametrize("name", TOYS)
def test_a_unit_that_is_always_zero_is_not_missed(name):
    """Nothing is lost, so nothing changes but rounding."""
    model, x, units = network(name)
    layer = next(iter(TOYS[name][2]))
    dead = units[layer][:1]
    with torch.no_grad():
        for module in (model.get_submodule(layer), UnitGraph(model, x).norm_of(layer)):
            for values in () if module is None else module.parameters():
                values[dead] = 0
        norm = UnitGraph(model, x).norm_of(layer)
        if norm is not None:
            norm.running_mean[dead] = 0
    removed = dict.fromkeys(describe_layer(UnitGraph(model, x), layer).group, dead)
    small = removed_and_repaired(model, removed, x, "least-squares")
    with torch.no_grad():
        torch.testing.assert_close(small(x), model(x), atol=1e-4, rtol=1e-4)


class Words(nn.Module):
    """A feed-forward block between an embedding and a classifier, which have one weight."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(40, 4)
        self.up, self.down = nn.Linear(4, 8), nn.Linear(8, 4)
        self.classifier = nn.Linear(4, 40, bias=False)
        self.classifier.weight = self.embedding.weight

    def forward(self, x):
        x = self.embedding(x)
        return self.classifier(x + self.down(torch.relu(self.up(x))))


def test_weights_that_another_module_has_too_stay(monkeypatch):
    model, x = randomise(Words()).eval(), torch.randint(0, 40, (12, 5), generator=torch.Generator().manual_seed(0))
    fitted, ridge = [], sweep.fit_ridge
    monkeypatch.setattr(sweep, "fit_ridge", lambda seen, *others: fitted.append(len(seen)) or ridge(seen, *others))
    # What is behind the last layer that is fitted does not run, so its size does not cut the images.
    monkeypatch.setattr(sweep, "PASS", 12 * 5 * 8)
    plain, small = (removed_and_repaired(model, {"up": [0, 3, 5]}, x, how) for how in ("none", "least-squares"))
    assert fitted == [12]
    assert small.classifier.weight is small.embedding.weight
    assert torch.equal(small.embedding.weight, model.embedding.weight)
    assert not torch.equal(small.down.weight, plain.down.weight)
    assert (small(x) - model(x)).norm() < (plain(x) - model(x)).norm()
