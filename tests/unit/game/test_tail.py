"""The rest of a network, made ready: the same outputs, from modules of its own."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from shapprune.data.vision import torchvision
from shapprune.game.cpu_products import MapProduct, Product
from shapprune.game.tail import make_ready
from shapprune.graph.cut import cut_at
from shapprune.graph.unit_graph import UnitGraph
from shapprune.networks.builders import build
from tests.toys import images, randomise


class Twice(nn.Module):
    """A convolution called twice, each time with a BatchNorm of its own; one BatchNorm whose input has another user."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.shared = nn.Conv2d(4, 4, 3, padding=1)
        self.norm1, self.norm2, self.norm3 = nn.BatchNorm2d(4), nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.forked = nn.Conv2d(4, 4, 3, padding=1)
        self.pool = nn.MaxPool2d(4)
        self.small = nn.Conv2d(4, 6, 3, padding=1, bias=False)
        self.batch_only = nn.BatchNorm2d(6, affine=False)
        self.output = nn.Linear(6 * 9, 3)

    def forward(self, x):
        x = torch.relu(self.first(x))
        x = torch.relu(self.norm1(self.shared(x)))
        x = torch.relu(self.norm2(self.shared(x)))
        forked = self.forked(x)
        x = torch.relu(self.norm3(forked) + forked)
        x = torch.relu(self.batch_only(self.small(self.pool(x))))
        return self.output(x.view(x.size(0), -1))


NETWORKS = {
    "twice": (Twice, (1, 12, 12), "first", {"batch_only"}),
    "resnet20": (lambda: build("resnet20", shape=(3, 32, 32)), (3, 32, 32), "layer2.0.conv1", None),
    "vgg16": (lambda: build("vgg16", shape=(3, 32, 32)), (3, 32, 32), "features.14", None),
    "mobilenet_v2": (
        lambda: torchvision.models.mobilenet_v2(num_classes=10),
        (3, 32, 32),
        "features.3.conv.0.0",
        None,
    ),
    "parametrized": (
        lambda: nn.Sequential(
            *(nn.Conv2d(1, 4, 3), nn.ReLU()),
            *(nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 3)), nn.BatchNorm2d(4), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(256, 3)),
        ),
        (1, 12, 12),
        "0",
        set(),
    ),
}


@pytest.mark.parametrize("cuda", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_outputs_and_network_stay(name, cuda):
    make, shape, layer, folded = NETWORKS[name]
    model = randomise(make()).eval()
    before = copy.deepcopy(model.state_dict())
    x = images(3, shape)
    graph = UnitGraph(model, x)
    cut = cut_at(graph.traced, graph.site(layer, "activation"))
    entering, *beside = cut.before(x)
    norms = {str(n.target) for n in cut.after.graph.nodes if "Norm" in str(type(graph.modules.get(str(n.target))))}
    assert norms
    assert make_ready(cut, graph.shapes, cuda) is (None if name == "parametrized" else True)
    left = {str(node.target) for node in cut.after.graph.nodes}
    assert norms - left == (norms if folded is None else folded)
    for given in (entering, entering.contiguous(memory_format=torch.channels_last)):
        torch.testing.assert_close(cut.after(given.clone(), *beside), graph.outputs, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(model(x), graph.outputs, rtol=0, atol=0)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(each.weight.is_contiguous() for each in model.modules() if type(each) is nn.Conv2d)


def test_small_maps_keep_their_channels_first():
    model = Twice().eval()
    graph = UnitGraph(model, images(2, (1, 12, 12)))
    cut = cut_at(graph.traced, graph.site("first", "activation"))
    make_ready(cut, graph.shapes, cuda=False)
    formats = {
        name: module.weight.is_contiguous(memory_format=torch.channels_last)
        for name, module in cut.after.named_modules()
        if isinstance(module, nn.Conv2d)
    }
    assert formats == {"shared": True, "forked": True, "small": False}
    cut = cut_at(graph.traced, graph.site("small", "activation"))
    assert make_ready(cut, graph.shapes, cuda=False) is None


DEEPEST = ["features.34", "features.37", "features.40"]  # convolutions of 2 x 2 positions


def test_linear_layers_and_the_smallest_maps_are_products():
    model = build("vgg16", shape=(3, 32, 32)).eval()
    graph = UnitGraph(model, images(2, (3, 32, 32)))
    for cuda, products in ((False, [*DEEPEST, "classifier.1", "classifier.4", "classifier.6"]), (True, [])):
        cut = cut_at(graph.traced, graph.site("features.30", "activation"))
        make_ready(cut, graph.shapes, cuda)
        found = {name: type(module) for name, module in cut.after.named_modules() if isinstance(module, Product)}
        assert sorted(found) == sorted(products)
        assert {name for name, kind in found.items() if kind is MapProduct} == set(DEEPEST if products else ())


@torch.no_grad()
def test_layers_that_change_stay_and_are_not_folded_into():
    model = randomise(build("resnet20", shape=(3, 32, 32))).eval()
    x = images(2, (3, 32, 32))
    graph = UnitGraph(model, x)
    cut = cut_at(graph.traced, graph.site("layer1.0.conv1", "activation"))
    make_ready(cut, graph.shapes, False, ["layer1.0.conv2"])
    assert cut.after.get_submodule("layer1.0.conv2") is model.layer1[0].conv2
    left = {str(node.target) for node in cut.after.graph.nodes}
    assert {name for name in left if "bn" in name} == {"layer1.0.bn2"}
    model.layer1[0].conv2.weight.mul_(0.5)
    torch.testing.assert_close(cut.after(*cut.before(x)), model(x), rtol=1e-4, atol=1e-4)
