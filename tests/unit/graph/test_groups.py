"""Groups: which layers lose units together, and what is said of units that cannot be followed."""

from __future__ import annotations

import pytest
import torch

from shapprune import ShapPruneError, prunable_layers, remove_units
from shapprune.data.vision import torchvision
from shapprune.graph.groups import group_of
from shapprune.graph.unit_graph import UnitGraph
from shapprune.pruning.removal import mask_units
from tests.toys import images, randomise
from tests.unit.graph import odd

TWICE = "which is used 2 times in one pass"
# Network -> its groups, and what is said of layers whose units stay.
KINDS = {
    "one norm of two layers": (
        odd.SharedNorm,
        ["two", "three"],
        {"one": f"'norm', {TWICE}", "other": f"'norm', {TWICE}"},
    ),
    "one PReLU of two layers": (odd.SharedPReLU, ["two", "three"], {"other": f"into 'slopes', {TWICE}"}),
    "one reader of two layers": (odd.SharedReader, ["two", "three"], {"other": f"into 'shared', {TWICE}"}),
    "one gate of two layers": (odd.SharedGate, ["two", "three"], {"one": f"into 'gate', {TWICE}"}),
    "sum of what is joined": (
        odd.SumOfJoined,
        ["two", "three"],
        {
            "one": "into 'add', where those of deep are added to others, too",
            "deep": "where 'cat' is added, whose units",
        },
    ),
    "beside itself": (
        odd.BesideItself,
        ["other", "two", "three"],
        {"one": "into 'cat', where they lie beside themselves"},
    ),
    "product": (
        odd.Product,
        ["one", "two", "three"],
        {"other": "its units are those of 'one', which it is multiplied"},
    ),
    "product beside a shortcut": (
        odd.SumOfProduct,
        ["first one", "two", "three"],
        {"other": "its units are those of 'one', which it is multiplied with"},
    ),
    "product with a sum": (
        odd.ProductWithSum,
        ["one", "two", "three"],
        {"other": "into 'sigmoid', which does not leave zero at zero"},
    ),
    "sum of features": (odd.SumOfFeatures, ["one other", "three"], {}),
    "sum of flattened maps": (odd.SumOfFlattened, ["three"], {"one": "with their positions side by side"}),
    "depthwise without a bias": (odd.Filtered, ["one other", "two", "three"], {}),
    "depthwise with a bias": (
        odd.FilteredWithBias,
        ["two", "three"],
        {"one": "'filter', which does not leave zero at"},
    ),
    "gate of two poolings": (odd.TwoPools, ["one", "two", "three"], {"gate.2": "layer 'gate.2' is used 2 times"}),
    "gate of linear layers": (
        odd.LinearGate,
        ["small", "two", "three"],
        {"one": "multiplied by 'view', whose units are not those of a layer"},
    ),
}


@pytest.mark.parametrize(("make", "groups", "reasons"), KINDS.values(), ids=KINDS)
def test_groups_and_reasons(make, groups, reasons):
    model, x = randomise(make()).eval(), images(3)
    layers = {each.name: each for each in prunable_layers(model, x, coupled=True)}
    assert list(dict.fromkeys(" ".join(each.group) for each in layers.values() if each.group)) == groups
    for group in groups:
        units = {name: [1, 2] for name in group.split()}
        torch.testing.assert_close(remove_units(model, units, x)(x), mask_units(model, units, x), atol=1e-5, rtol=1e-5)
    graph = UnitGraph(model, x)
    for name, reason in reasons.items():
        assert reason in layers[name].coupled
        with pytest.raises(ShapPruneError) as error:  # told from the graph, not on trial
            group_of(graph, name)
        assert str(error.value) == layers[name].coupled
        with pytest.raises(ShapPruneError, match=f"units of layer '{name}' cannot be removed"):
            remove_units(model, {name: [0]}, x)


@pytest.mark.parametrize(
    ("name", "layer", "reason"),
    [
        ("regnet_y_400mf", "trunk_output.block1.block1-0.f.a.0", "f.b.0', a convolution of 6 groups"),
        (
            "regnet_y_400mf",
            "trunk_output.block1.block1-0.f.se.fc2",
            "by 'trunk_output.block1.block1-0.f.b.2', which others",
        ),
        ("shufflenet_v2_x0_5", "conv1.0", "into 'stage2.0.branch1.1', which does not leave zero at zero"),
        ("shufflenet_v2_x0_5", "stage2.1.branch2.5", "into 'view_2', of which it is not known what becomes of units"),
        (
            "densenet121",
            "features.conv0",
            "into 'features.denseblock1.denselayer1.norm1', which does not leave zero at",
        ),
    ],
)
def test_what_is_said_of_layers_of_torchvision(name, layer, reason):
    graph = UnitGraph(getattr(torchvision.models, name)(weights=None).eval(), images(1, (3, 32, 32)))
    with pytest.raises(ShapPruneError) as error:
        group_of(graph, layer)
    assert reason in str(error.value)
