"""ONNX files."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from shapprune import ShapPruneError, choose_units, export_onnx, prunable_layers, remove_units
from shapprune.networks.builders import build
from shapprune.networks.export import OPSET
from tests.toys import ConvNetwork, ResidualNetwork, images, randomise

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

CIFAR = (3, 32, 32)
NETWORKS = {
    "vgg-like": lambda: (ConvNetwork(), (1, 8, 8)),
    "residual": lambda: (ResidualNetwork(), (1, 8, 8)),
    "mlp": lambda: (build("mlp", width=32), (1, 28, 28)),
    "lenet5": lambda: (build("lenet5"), (1, 28, 28)),
    "fmnist_cnn": lambda: (build("fmnist_cnn"), (1, 28, 28)),
    "resnet20": lambda: (build("resnet20", shape=CIFAR), CIFAR),
    "efficientnet_lite0": lambda: (build("efficientnet_lite0", shape=CIFAR, width=0.5), CIFAR),
}
SLOW = {
    "vgg16": lambda: (build("vgg16", shape=CIFAR), CIFAR),
    "resnet56": lambda: (build("resnet56", shape=CIFAR), CIFAR),
}


def pruned(name):
    """A network without half of the units of every layer, and images for it."""
    model, shape = (NETWORKS | SLOW)[name]()
    model, x = randomise(model).eval(), images(3, shape)
    layers = [layer for layer in prunable_layers(model, x, coupled=True) if layer.group]
    scores = {layer.name: torch.arange(float(layer.units)) for layer in layers}
    return remove_units(model, choose_units(scores, ratio=0.5, groups={layer.group for layer in layers}), x), x


@pytest.mark.parametrize("name", [*NETWORKS, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_pruned_networks_compute_the_same_for_any_number_of_images(name, tmp_path):
    model, x = pruned(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        export_onnx(model, tmp_path / "model.onnx", x)
    onnx.checker.check_model(str(tmp_path / "model.onnx"))
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    for count in (1, 3, 5):
        some = images(count, tuple(x.shape[1:]), seed=count)
        (outputs,) = session.run(["outputs"], {"images": some.numpy()})
        with torch.no_grad():
            expected = model(some).numpy()
        np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_the_network_is_left_as_it_was(tmp_path):
    model = randomise(ConvNetwork()).train()
    model.drop.eval()
    model(images(4)).sum().backward()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    export_onnx(model, tmp_path / "model.onnx", images(2))
    assert model.training
    assert not model.drop.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is not None for parameter in model.parameters())
    file = onnx.load(tmp_path / "model.onnx")
    assert file.opset_import[0].version == OPSET
    assert [each.name for each in tmp_path.iterdir()] == ["model.onnx"]


class OtherOutputs(nn.Module):
    """Puts out something else for batches of another size than it was exported with."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(64, 3)

    def forward(self, x):
        return self.fc(x.flatten(1)) * float(len(x))


class Unexportable(ConvNetwork):
    def forward(self, x):
        return torch.fft.fft(super().forward(x)).real


def test_what_does_not_compute_the_same_is_not_written(tmp_path):
    with pytest.raises(ShapPruneError, match=r"OtherOutputs was not exported .* differ by 0\.\d+ of the largest"):
        export_onnx(OtherOutputs(), tmp_path / "model.onnx", images(2))
    with pytest.raises(ShapPruneError, match="Unexportable cannot be exported to ONNX: "):
        export_onnx(Unexportable(), tmp_path / "model.onnx", images(2))
    assert list(tmp_path.iterdir()) == []


def test_networks_of_2_gb_are_refused(tmp_path):
    with torch.device("meta"):
        large = nn.Linear(2**16, 2**13)
    large.__deepcopy__ = lambda memo: large
    large.cpu = lambda: large
    with pytest.raises(ShapPruneError, match="an ONNX file can hold less than 2,147,483,648"):
        export_onnx(large, tmp_path / "model.onnx", torch.zeros(1, 2**16))


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_without_the_packages(package, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ShapPruneError, match=rf"package {package}: pip install 'shapprune\[onnx\]'"):
        export_onnx(randomise(ConvNetwork()), tmp_path / "model.onnx", images(2))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_network_on_cuda_stays_there(tmp_path):
    model = randomise(ConvNetwork()).cuda()
    export_onnx(model, tmp_path / "model.onnx", images(2).cuda())
    assert all(each.is_cuda for each in model.parameters())
