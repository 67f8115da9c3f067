"""Prunable layers, their sites, cutting and removal on every kind of network: masking equals slicing."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from shapprune import LayerGame, ShapPruneError, prunable_layers, remove_units
from shapprune.graph.counting import count_macs, count_parameters
from shapprune.networks.builders import build
from shapprune.networks.tables import ARCHITECTURES, layer_table
from shapprune.pruning.removal import mask_units
from tests.toys import ConvNetwork, ResidualNetwork, images, labels, randomise
from tests.unit.shallow import shallow

OURS = {
    "mlp": ((1, 28, 28), {"width": 32}),
    "lenet5": ((1, 28, 28), {}),
    "fmnist_cnn": ((1, 28, 28), {}),
    "vgg16": ((3, 32, 32), {}),
    "resnet20": ((3, 32, 32), {}),
    **{f"resnet{depth}": ((3, 16, 16), {}) for depth in (32, 44, 56)},
    "efficientnet_lite0": ((3, 40, 36), {"width": 0.5}),  # sides that stay even, or become odd, on the way
    "cct": ((3, 20, 18), {"heads": 5, "width": 24, "head_dim": 7, "hidden": 9}),
    "vit": ((1, 12, 8), {"depth": 2, "width": 24, "heads": 5, "head_dim": 7, "hidden": 9}),
    "char_gpt": ((7,), {"depth": 2, "width": 24, "heads": 5, "head_dim": 4, "hidden": 9}),
}
# Shallow architecture of torchvision -> one layer that can be pruned alone, and how many of those there are.
# mobilenet_v2: stem and 5 expansions, each with the depthwise convolution behind it; 3 convolutions that no residual
# sum follows.
TORCHVISION = {
    "vgg11_bn": ("features.0", 7),
    "resnet18": ("layer2.0.conv1", 6),
    "mobilenet_v2": ("features.2.conv.0.0", 9),
    "densenet121": ("features.denseblock1.denselayer2.conv1", 9),
}


def network(name):
    if name in OURS:
        shape, options = OURS[name]
        x = labels(3 * 7, 10).view(3, 7) if ARCHITECTURES[name].tokens else images(3, shape)
        return randomise(build(name, shape=shape, classes=10, **options)), x
    return randomise(shallow(name)), images(3, (3, 64, 64))


def test_every_architecture_is_tested_here():
    assert OURS.keys() == ARCHITECTURES.keys()


def check_removal(model, layer, x, seed=0):
    game = LayerGame(model, layer, x, labels(len(x), 10), payoff=lambda out, _: out.flatten(1)[:, 3])
    random = np.random.default_rng(seed)
    gone = np.sort(random.choice(game.units, size=max(1, game.units // 3), replace=False)).tolist()
    kept = torch.ones(1, game.units, dtype=torch.bool)
    kept[0, gone] = False
    small = remove_units(model, {layer: gone}, x)
    with torch.no_grad():
        scale = float(model(x).abs().max())
    with torch.no_grad():
        outputs = small(x)
        torch.testing.assert_close(outputs.flatten(1)[:, 3], game.value(kept)[0], atol=1e-5 * scale, rtol=1e-5)
        torch.testing.assert_close(outputs, mask_units(model, {layer: gone}, x), atol=1e-5 * scale, rtol=1e-5)
    assert not torch.allclose(outputs, model(x), atol=1e-6 * scale)  # the units did matter
    assert count_parameters(small) < count_parameters(model)
    assert count_macs(small, x) < count_macs(model, x)
    assert small.kept_units[layer] == [i for i in range(game.units) if i not in gone]
    return small


@pytest.mark.parametrize("name", OURS)
def test_static_table_is_what_is_found(name):
    model, x = network(name)
    found = {layer.name: layer.units for layer in prunable_layers(model, x)}
    shape, options = OURS[name]
    assert found == layer_table(name, options, shape)
    assert list(found) == list(layer_table(name, options, shape))  # in the same order


@pytest.mark.parametrize("name", OURS)
def test_mask_equals_slice(name):
    model, x = network(name)
    model.eval()
    layers = [layer.name for layer in prunable_layers(model, x)]
    small = model
    for layer in sorted({layers[0], layers[len(layers) // 2], layers[-1]}):
        check_removal(model, layer, x)
        small = check_removal(small, layer, x)  # and from what is already pruned
    together = remove_units(model, {layers[0]: [0, 1], layers[-1]: [2]}, x)
    assert together(x).shape == model(x).shape


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision_networks(name):
    layer, count = TORCHVISION[name]
    model, x = network(name)
    model.eval()
    found = prunable_layers(model, x)
    assert len(found) == count
    names = [each.name for each in found]
    assert layer in names
    assert len(prunable_layers(model, x, coupled=True)) >= count
    for each in (layer, names[-1]):
        check_removal(model, each, x)


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "mobilenet_v2"])
def test_layers_that_cannot_be_removed_alone_can_still_be_scored(name):
    model, x = network(name)
    coupled = [layer for layer in prunable_layers(model, x, coupled=True) if layer.coupled]
    assert coupled
    for layer in (coupled[0], coupled[len(coupled) // 2], coupled[-1]):
        game = LayerGame(model, layer.name, x, labels(3, 10))
        expected = -nn.functional.cross_entropy(model.eval()(x), labels(3, 10), reduction="none")
        torch.testing.assert_close(game.full, expected, atol=1e-4, rtol=1e-4)
        with pytest.raises(ShapPruneError, match="cannot be removed"):
            remove_units(model, {layer.name: [0]}, x)


def test_sites_of_the_toy_networks():
    model, x = ConvNetwork(), images(2)
    sites = {layer.name: (layer.units, layer.kind, layer.site) for layer in prunable_layers(model, x)}
    assert sites == {
        "features.0": (4, "conv", "features.2"),
        "features.4": (6, "conv", "features.6"),
        "fc": (8, "linear", "relu"),  # a function
    }
    residual = {layer.name: layer.coupled for layer in prunable_layers(ResidualNetwork(), x, coupled=True)}
    assert residual["conv1"] is None
    assert residual["conv2"] == "its units leave together with those of stem"
    assert list(residual) == ["stem", "conv1", "conv2"]  # never the output layer


class NormLast(nn.Module):
    """conv - pool - relu - norm, the order of Adamczewski et al.'s LeNet: the norm is part of the site."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 3)
        self.norm = nn.BatchNorm2d(6)
        self.output = nn.Linear(6 * 9, 10)

    def forward(self, x):
        x = self.norm(nn.functional.relu(nn.functional.max_pool2d(self.conv(x), 2)))
        return self.output(torch.flatten(x, 1))


class Sigmoids(nn.Module):
    """A non-linearity that turns 0 into 1/2."""

    def __init__(self):
        super().__init__()
        self.one = nn.Linear(9, 6)
        self.two = nn.Linear(6, 10)

    def forward(self, x):
        return self.two(torch.sigmoid(self.one(x)))


@pytest.mark.parametrize(
    ("model", "layer", "x"), [(NormLast(), "conv", images(3)), (Sigmoids(), "one", images(3, (9,)))]
)
def test_sites_past_operations_that_move_zero(model, layer, x):
    check_removal(randomise(model).eval(), layer, x)


class Grouped(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(1, 4, 3)
        self.b = nn.Conv2d(4, 4, 3, groups=2)
        self.output = nn.Linear(4 * 16, 3)

    def forward(self, x):
        return self.output(torch.flatten(self.b(self.a(x)), 1))


def test_removal_leaves_the_model_alone():
    model = randomise(ConvNetwork()).train()
    model.features[1].eval()
    before = copy.deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    small = remove_units(model, {"fc": [0]}, images(2))
    assert [module.training for module in model.modules()] == modes
    assert [module.training for module in small.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert small.fc.out_features == 7
    assert small.output.in_features == 7


@pytest.mark.parametrize(
    ("units", "message"),
    [
        ({"feature.4": [0]}, "unknown layer 'feature.4'; did you mean 'features.4'"),
        ({"fc": [8]}, "layer 'fc' has units 0 ... 7"),
        ({"fc": [-1]}, "layer 'fc' has units 0 ... 7"),
        ({"fc": range(8)}, "removing all 8 units of layer 'fc'"),
        ({"output": [0]}, "output layer"),
    ],
)
def test_bad_removals(units, message):
    with pytest.raises(ShapPruneError) as error:
        remove_units(ConvNetwork(), units, images(2))
    assert message in str(error.value)


def test_grouped_convolutions_are_refused_by_name():
    for layer in ("a", "b"):
        with pytest.raises(ShapPruneError, match=f"layer '{layer}' cannot be removed: .*(group|'b')"):
            remove_units(Grouped(), {layer: [0]}, images(2))
