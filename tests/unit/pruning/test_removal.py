"""Removal of units from whole networks and groups of layers: what is left computes what the mask does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from shapprune import ShapPruneError, load, prunable_layers, remove_units, save
from shapprune.data.vision import torchvision
from shapprune.graph.counting import count_parameters
from shapprune.pruning.choice import choose_units
from shapprune.pruning.removal import mask_units
from tests.toys import ConvNetwork, ResidualNetwork, images, randomise
from tests.unit.graph.test_prunable import OURS, network

# How many layers and groups of layers of shallow networks of torchvision can lose units: all but those whose units
# pass a BatchNorm of their reader (densenet121), or scale those of others (efficientnet_b0).
TORCHVISION = {
    "resnet18": (16, 10),
    "resnet50": (23, 17),
    "vgg11_bn": (7, 7),
    "mobilenet_v2": (15, 12),
    "densenet121": (9, 9),
    "efficientnet_b0": (19, 17),
    "squeezenet1_1": (25, 25),
}


def random_choice(model, x, seed, ratio=0.3):
    """Units of every layer that can lose any, by random scores."""
    layers = [layer for layer in prunable_layers(model, x, coupled=True) if layer.group]
    random = np.random.default_rng(seed)
    scores = {layer.name: torch.from_numpy(random.random(layer.units)) for layer in layers}
    groups = {layer.group for layer in layers}
    return choose_units(scores, ratio=ratio, groups=[group for group in groups if len(group) > 1]), groups


@pytest.mark.parametrize("name", [*OURS, *TORCHVISION])
def test_all_layers_at_once_and_again(name, tmp_path):
    model, x = network(name)
    model.eval()
    small = model
    for seed in range(2):  # and from what is already pruned
        chosen, groups = random_choice(small, x, seed)
        if name in TORCHVISION:
            assert (len(chosen), len(groups)) == TORCHVISION[name]
        expected = mask_units(small, chosen, x)
        before, small = small, remove_units(small, chosen, x)
        with torch.no_grad():
            scale = float(expected.abs().max())
            torch.testing.assert_close(small(x), expected, atol=1e-5 * scale, rtol=0)
            assert not torch.allclose(expected, before(x), atol=1e-3 * scale)  # the units did matter
        assert count_parameters(small) < 0.85 * count_parameters(before)
    save(small, tmp_path / "small.safetensors")
    back = load(tmp_path / "small.safetensors", lambda: network(name)[0])
    with torch.no_grad():
        assert torch.equal(back(x), small(x))
    assert back.kept_units == small.kept_units
    for module in small.modules():
        if isinstance(module, nn.Conv2d):
            expected = module.out_channels, module.in_channels // module.groups
            assert tuple(module.weight.shape[:2]) == expected
        elif isinstance(module, nn.Linear):
            assert tuple(module.weight.shape) == (module.out_features, module.in_features)
        elif isinstance(module, nn.BatchNorm2d):
            assert module.running_mean.shape == module.weight.shape == (module.num_features,)
    widths = {layer.name: layer.units for layer in prunable_layers(small, x, coupled=True)}
    assert all(len(units) == widths[layer] for layer, units in small.kept_units.items())


def test_layers_of_a_residual_stream_leave_together():
    model, x = randomise(ResidualNetwork()).eval(), images(3)
    layers = {layer.name: layer.group for layer in prunable_layers(model, x, coupled=True)}
    assert layers == {"stem": ("stem", "conv2"), "conv1": ("conv1",), "conv2": ("stem", "conv2")}
    small = remove_units(model, {"stem": [1], "conv2": [1], "conv1": [0, 4]}, x)
    with torch.no_grad():
        expected = mask_units(model, {"stem": [1], "conv2": [1], "conv1": [0, 4]}, x)
        torch.testing.assert_close(small(x), expected, atol=1e-5, rtol=1e-5)
        remove_units(model, {"conv1": [2]}, x)  # also where no gradients are wanted
    assert small.kept_units == {"stem": [0, 2, 3], "conv2": [0, 2, 3], "conv1": [1, 2, 3]}
    for units in ({"stem": [1]}, {"stem": [1], "conv2": [2]}):
        with pytest.raises(ShapPruneError, match="together with those of conv2; give all of these layers the same"):
            remove_units(model, units, x)


class Shuffle(nn.Module):
    """Channels are shuffled by a view with fixed numbers, which no removal can follow."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 1)
        self.output = nn.Linear(4, 3)

    def forward(self, x):
        x = self.one(x).view(-1, 2, 2, 8, 8).transpose(1, 2).reshape(-1, 4, 8, 8)
        return self.output(self.two(x).mean((2, 3)))


class Normed(nn.Module):
    """A sum that a BatchNorm follows: a zero does not stay one."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 1)
        self.norm, self.output = nn.BatchNorm2d(4), nn.Linear(4, 3)

    def forward(self, x):
        x = torch.relu(self.one(x))
        return self.output(self.norm(x + self.two(x)).mean((2, 3)))


class Plus(nn.Module):
    """The images themselves are added to the units."""

    def __init__(self):
        super().__init__()
        self.one, self.output = nn.Conv2d(1, 1, 1), nn.Conv2d(1, 3, 8)

    def forward(self, x):
        return self.output(self.one(x) + x).flatten(1)


@pytest.mark.parametrize(("model", "node"), [(Shuffle(), "view"), (Normed(), "norm"), (Plus(), "add")])
def test_what_cannot_be_followed_is_refused_by_name(model, node):
    (layer,) = [each for each in prunable_layers(model, images(2), coupled=True) if each.name == "one"]
    assert layer.group == ()
    assert repr(node) in layer.coupled
    with pytest.raises(ShapPruneError, match=f"units of layer 'one' cannot be removed: its units go on into '{node}'"):
        remove_units(model, {"one": [0]}, images(2))


class Fixed(ConvNetwork):
    """Its view counts channels by itself."""

    def forward(self, x):
        return self.output(torch.relu(self.fc(self.features(x).view(-1, 24))))


def test_a_network_that_does_not_run_without_the_units_is_refused():
    with pytest.raises(ShapPruneError, match="Fixed"):
        remove_units(Fixed(), {"features.4": [0]}, images(2))


def test_grouped_and_scaled_units_of_torchvision():
    model, x = randomise(torchvision.models.resnext50_32x4d(num_classes=10)), images(2, (3, 64, 64))
    found = {layer.name: layer for layer in prunable_layers(model, x, coupled=True)}
    assert "groups" in found["layer1.0.conv2"].coupled
    assert "conv2" in found["layer1.0.conv1"].coupled
    assert len(found["layer2.0.conv3"].group) > 1
