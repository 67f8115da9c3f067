"""Architectures as they are built: the built-in ones and those of one's own."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import fx

from shapprune.core.errors import ShapPruneError
from shapprune.data.prepared import tensors
from shapprune.data.sets import DATASETS, load
from shapprune.networks.builders import build, builder_of
from shapprune.networks.evaluation import evaluate
from shapprune.networks.tables import ARCHITECTURES, layer_table
from shapprune.networks.weights import load_weights
from tests.unit.networks.test_tables import COLOUR, GREY, TEXT, inputs, shape_for


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_torch_fx_traces_them(architecture):
    shape = shape_for(architecture)
    model, images = build(architecture, shape).eval(), inputs(shape)
    traced = fx.symbolic_trace(model)
    with torch.no_grad():
        assert torch.equal(traced(images), model(images))
        assert torch.equal(traced(images[:1]), model(images[:1]))


@pytest.mark.parametrize(
    ("architecture", "shape", "classes"),
    [
        *(("lenet5", (3, 32, 20), 4), ("mlp", (1, 8, 8), 3), ("mlp", (5,), 3), ("fmnist_cnn", (3, 11, 9), 2)),
        *(("resnet20", (1, 9, 5), 7), ("cct", (1, 9, 6), 4), ("vit", (2, 8, 12), 3)),
    ],
)
def test_other_images_and_classes(architecture, shape, classes):
    assert build(architecture, shape, classes).eval()(torch.rand(2, *shape)).shape == (2, classes)


@pytest.mark.parametrize(
    ("architecture", "options", "shape", "message"),
    [
        ("lenet", {}, GREY, "unknown architecture 'lenet'; did you mean 'lenet5'"),
        ("lenet5", {"width": [1, 2, 3, 4]}, GREY, "unknown option of lenet5 'width'; did you mean 'widths'"),
        (
            "lenet5",
            {"widths": [10, 20]},
            GREY,
            r"'widths' of lenet5: \[10, 20\] is not a list of 4",
        ),
        ("lenet5", {"widths": [10, 20, 0, 5]}, GREY, "'widths' of lenet5: 0 is not at least 1"),
        ("lenet5", {}, (1, 8, 8), "lenet5 takes images at least 16 x 16 pixels, not 1 x 8 x 8"),
        ("mlp", {"width": True}, GREY, "'width' of mlp: True is not a whole number"),
        ("mlp", {"nonlinearity": "relu7"}, GREY, "'relu7' is unknown; did you mean 'relu'"),
        ("mlp", {"nonlinearity": []}, GREY, r"'nonlinearity' of mlp: \[\] is not text"),
        ("mlp", {"width": 5, "widths": [5, 5]}, GREY, "either width or widths"),
        ("vgg16", {}, GREY, "vgg16 takes images of 3 channels"),
        ("vit", {"patch": 5}, GREY, "vit takes images whose sides are multiples of the patch, not 1 x 28 x 28"),
        ("vit", {"heads": 0}, GREY, "'heads' of vit: 0 is not at least 1"),
        ("lenet5", {}, TEXT, "lenet5 takes images at least 16 x 16 pixels, not 128"),
        ("cct", {}, TEXT, "cct takes images of any size, not 128"),
        ("char_gpt", {}, GREY, "char_gpt takes sequences of tokens, not 1 x 28 x 28"),
        ("vgg16", {"dropout": 0.1}, COLOUR, "unknown option of vgg16 'dropout'; allowed: none"),
    ],
)
def test_what_does_not_fit_is_refused(architecture, options, shape, message):
    for function in (
        lambda: layer_table(architecture, options, shape),
        lambda: build(architecture, shape, 10, **options),
    ):
        with pytest.raises(ShapPruneError, match=message):
            function()


def test_an_architecture_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    (tmp_path / "own_models.py").write_text(
        "from torch import nn\ndef build(width):\n    return nn.Linear(2, width)\ndef wrong():\n    return 5\n"
    )
    assert build("own_models:build", width=3).out_features == 3
    with pytest.raises(ShapPruneError, match=r"must return a torch\.nn\.Module, not int"):
        build("own_models:wrong")
    with pytest.raises(ShapPruneError, match=r"list them with their units"):
        layer_table("own_models:build", {"width": 3})


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "file", "count", "accuracy"),
    [
        ("resnet20", "resnet20-12fca82f.th", 10_000, 0.9173),  # all images, for which accuracies are published
        ("resnet32", "resnet32-d509ac18.th", 1000, 0.928),  # 0.9263 of all, as published
        ("resnet44", "resnet44-014dd654.th", 1000, 0.933),  # 0.9310
        ("resnet56", "resnet56-4bfd9763.th", 1000, 0.926),  # 0.9339
        ("cct", "cct2-3x2-cifar10.pth.tar", 2000, 0.6015),  # 0.611 with the mean and std that it was trained with
    ],
)
def test_public_checkpoints_reach_their_published_accuracy(architecture, file, count, accuracy, data_folder):
    model = load_weights(build(architecture, COLOUR), data_folder / "weights" / file)
    images, labels = tensors(load("cifar10", root=data_folder, download=False), "test")
    assert evaluate(model, images[:count], labels[:count])[1] == pytest.approx(accuracy, abs=1 / count)


def test_an_own_function_gets_all_of_its_options_and_nothing_else(tmp_path, monkeypatch):
    (tmp_path / "own_function.py").write_text(
        "from torch import nn\n"
        "def make(classes, shape=(1, 4, 4)):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(shape[1] * shape[2], classes))\n"
        "def number():\n    return 3\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    info = DATASETS["digits"]
    network = {"architecture": "own_function:make", "options": {"classes": 5, "shape": [1, 8, 8]}}
    assert builder_of(network, info)()[1].weight.shape == (5, 64)
    for options in ({}, {"classes": 5, "width": 3}):
        with pytest.raises(ShapPruneError, match=r"'own_function:make' does not take the options"):
            builder_of(network | {"options": options}, info)()
    with pytest.raises(ShapPruneError, match=r"must return a torch\.nn\.Module, not int"):
        builder_of({"architecture": "own_function:number", "options": {}}, info)()


def test_a_network_is_no_function_that_builds_one(tmp_path, monkeypatch):
    (tmp_path / "own_network.py").write_text("from torch import nn\nmodel = nn.Linear(2, 2)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ShapPruneError, match="architecture 'own_network:model' is a network; name a function"):
        build("own_network:model")
