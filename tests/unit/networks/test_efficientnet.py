"""EfficientNet-Lite0: its padding, its size, units that leave it, and its public weights."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from shapprune import prunable_layers, remove_units
from shapprune.data.prepared import tensors
from shapprune.data.sets import load
from shapprune.graph.counting import count_macs, count_parameters
from shapprune.networks.builders import build
from shapprune.networks.efficientnet import same_padding
from shapprune.networks.evaluation import evaluate
from shapprune.networks.weights import load_weights, read_weights
from shapprune.pruning.removal import mask_units
from tests.toys import images, randomise

IMAGENET = (3, 224, 224)
SMALL = (3, 40, 36)
WEIGHTS = "weights/efficientnet-lite0-57934424.pth"


@pytest.fixture(scope="module")
def small():
    return randomise(build("efficientnet_lite0", SMALL, 10, width=0.5)).eval()


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(8, 8), (7, 7), (7, 8), (2, 1)])
def test_same_padding_is_that_of_tensorflow(kernel, stride, size):
    maps, weight = torch.rand(1, 1, *size), torch.rand(1, 1, kernel, kernel)
    pad, padding = same_padding(size, kernel, stride)
    found = F.conv2d(pad(maps), weight, stride=stride, padding=padding)
    assert found.shape[2:] == tuple(-(-side // stride) for side in size)
    # An output sees the pixels around it, of which half of the zeros that are needed in all, rounded down, come before.
    zeros = [max((-(-side // stride) - 1) * stride + kernel - side, 0) // 2 for side in size]
    around = F.pad(maps, (kernel, kernel, kernel, kernel))
    for row in range(found.shape[2]):
        for column in range(found.shape[3]):
            top, left = (kernel + stride * i - z for i, z in zip((row, column), zeros, strict=True))
            window = around[0, 0, top : top + kernel, left : left + kernel]
            torch.testing.assert_close(found[0, 0, row, column], (window * weight[0, 0]).sum())


def test_it_has_the_published_size():
    model = build("efficientnet_lite0", IMAGENET, 1000)
    assert count_parameters(model) == 4_652_008  # 4.65 million
    assert count_macs(model, torch.zeros(1, *IMAGENET)) == 385_187_552
    assert model.eval()(torch.zeros(1, *IMAGENET)).shape == (1, 1000)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {norm.eps for norm in norms} == {1e-3}


def test_projections_of_a_stage_leave_together(small):
    layers = {layer.name: layer for layer in prunable_layers(small, images(2, SMALL), coupled=True)}
    assert len(layers) == 1 + 16 + 15 + 1  # stem, projections, expansions, the last convolution
    assert all(layer.group for layer in layers.values())
    stages = {layer.group for layer in layers.values() if len(layer.group) > 1}
    assert sorted(stages) == sorted(
        tuple(f"_blocks.{place}._project_conv" for place in stage)
        for stage in ((1, 2), (3, 4), (5, 6, 7), (8, 9, 10), (11, 12, 13, 14))
    )


@pytest.mark.parametrize(
    "layers",
    [
        ["_blocks.1._expand_conv"],  # before a padded depthwise convolution
        ["_blocks.3._expand_conv", "_blocks.4._expand_conv"],
        [f"_blocks.{place}._project_conv" for place in (5, 6, 7)],
    ],
    ids=["inner", "two inner", "residual"],
)
def test_removed_units_are_masked_units(small, layers):
    x = images(3, SMALL)
    gone = {layer: [0, 3, 5, 11] for layer in layers}
    smaller = remove_units(small, gone, x)
    with torch.no_grad():
        expected = mask_units(small, gone, x)
        assert not torch.allclose(expected, small(x), atol=1e-3 * float(expected.abs().max()))
        torch.testing.assert_close(smaller(x), expected, atol=1e-5 * float(expected.abs().max()), rtol=0)
    assert count_macs(smaller, x) < count_macs(small, x)


@pytest.mark.data
def test_it_has_the_tensors_of_the_public_weights(data_folder):
    model, state = build("efficientnet_lite0", IMAGENET, 1000), read_weights(data_folder / WEIGHTS).tensors
    assert {name: each.shape for name, each in model.state_dict().items()} == {
        name: each.shape for name, each in state.items()
    }


@pytest.mark.data
@pytest.mark.slow
def test_the_public_weights_are_as_good_as_measured(data_folder):
    model = load_weights(build("efficientnet_lite0", IMAGENET, 1000), data_folder / WEIGHTS)
    pictures = load("imagenet-sample", root=data_folder, download=False)
    images, labels = tensors(pictures, "test")
    accuracy = evaluate(model, images[::4], labels[::4], batch=20)[1]
    assert accuracy == pytest.approx(0.896, abs=0.016)  # two pictures; 0.836 on all 500, 0.850 on the other half
