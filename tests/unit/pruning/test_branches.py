"""Branches and blocks that are removed for good: what is left, how it is trained, saved and loaded."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import shapprune
from shapprune import ShapPruneError
from shapprune.data.vision import torchvision
from shapprune.game.whole import minus_divergence
from shapprune.graph.residual import find_parts
from shapprune.graph.skipping import Skipping
from shapprune.graph.unit_graph import UnitGraph
from shapprune.networks.builders import build
from shapprune.networks.stand_ins import stand_ins_of
from tests.residual import Nested, Parallel, SmallResNet, SmallTransformer
from tests.toys import ConvNetwork, ResidualNetwork, images, labels, randomise
from tests.unit.transformers import CASES
from tests.unit.transformers import build as transformer


def vision_transformer():
    return torchvision.models.VisionTransformer(16, 8, 2, 2, 8, 12, num_classes=3)


def swin():
    sizes = [4, 4], 8, [2, 2], [2, 2], [2, 2]
    return torchvision.models.SwinTransformer(*sizes, num_classes=3, stochastic_depth_prob=0.9)


def convnext():
    setting = torchvision.models.convnext.CNBlockConfig
    return torchvision.models.ConvNeXt([setting(8, 12, 2), setting(12, None, 2)], num_classes=3)


# Network -> how it is built, and the shape of its images.
NETWORKS = {
    "resnet": (SmallResNet, (1, 8, 8)),
    "residual": (ResidualNetwork, (1, 8, 8)),
    "transformer": (SmallTransformer, (1, 8, 8)),
    "parallel": (lambda: SmallTransformer(2, Parallel), (1, 8, 8)),
    "nested": (Nested, (1, 8, 8)),
    "resnet20": (lambda: build("resnet20", (3, 32, 32), 10), (3, 32, 32)),
    "resnet18": (lambda: torchvision.models.resnet18(num_classes=3), (3, 32, 32)),
    "mobilenet_v2": (lambda: torchvision.models.mobilenet_v2(num_classes=3), (3, 32, 32)),
    "convnext": (convnext, (3, 32, 32)),
    "vit": (vision_transformer, (3, 16, 16)),
    "swin": (swin, (3, 32, 32)),
}
BLOCKS = ("resnet", "parallel", "resnet18", "mobilenet_v2", "convnext", "swin")


def network(name):
    make, shape = NETWORKS[name]
    return randomise(make()), images(2, shape), make


def count(model):
    return sum(each.numel() for each in model.parameters())


@pytest.mark.parametrize(
    ("name", "kind"),
    [*((name, "branches") for name in NETWORKS if name != "swin"), *((name, "blocks") for name in BLOCKS)],
)
def test_removed_equals_skipped_and_is_loaded_again(name, kind, tmp_path):
    model, x, make = network(name)
    parts = shapprune.prunable_branches(model, x, kind)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    some = [each.name for each in parts[::2]]
    small = shapprune.remove_branches(model.train(), some, x, kind)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert small.removed_branches == some
    assert count(model) - count(small) == sum(each.parameters for each in parts if each.name in some)
    graph = UnitGraph(model, x)
    skipped = Skipping(graph, find_parts(graph, kind)).whole(x, range(0, len(parts), 2))
    assert small.training
    torch.testing.assert_close(small.eval()(x), skipped, atol=1e-4, rtol=1e-4)
    shapprune.save(small, tmp_path / "small.safetensors")
    again = shapprune.load(tmp_path / "small.safetensors", make)
    assert torch.equal(again(x), small(x))
    assert again.removed_branches == some
    small.train()(torch.cat([x, x])).sum().backward()
    assert all(each.grad is not None for each in small.parameters())
    left = [each.name for each in parts if each.name not in some]
    if left and name != "nested":  # what is left there was inside what left
        assert [each.name for each in shapprune.prunable_branches(small, x, kind)] == left


def test_language_models_lose_blocks():
    case = CASES["llama"]
    model = transformer(case)
    blocks, branches = (shapprune.prunable_branches(model, case.inputs, kind) for kind in ("blocks", "branches"))
    assert [each.name for each in blocks] == ["model.layers.0", "model.layers.1"]
    assert [each.name for each in branches[:2]] == ["model.layers.0.self_attn", "model.layers.0.mlp"]
    assert blocks[0].parameters == sum(each.parameters for each in branches[:2])
    game = shapprune.BranchGame(model, case.inputs, kind="blocks", payoff="kl")
    kept = torch.tensor([[True, False]])
    small = shapprune.remove_branches(model, "model.layers.1", case.inputs, "blocks")
    with torch.no_grad():
        expected = minus_divergence(small(case.inputs), model(case.inputs))
    torch.testing.assert_close(game.value(kept)[0], expected, atol=1e-5, rtol=1e-4)
    assert shapprune.score(game, "block-influence").aggregate().min() > 0


def test_nothing_is_computed_of_a_block_that_is_gone():
    model, x, _ = network("resnet")
    small = shapprune.remove_branches(model, ["blocks.0", "blocks.1"], x)
    assert stand_ins_of(small).keys() == {
        "blocks.0",
        *(f"blocks.1.{module}" for module in ("conv1", "bn1", "conv2", "bn2")),  # the shortcut has a convolution
    }
    assert isinstance(small.blocks[1].downsample[0], nn.Conv2d)
    small.train()(images(3, (1, 11, 14))).sum().backward()  # images of another size


def test_stochastic_depth_of_what_is_left_stays_in_training():
    model, x, _ = network("swin")
    small = shapprune.remove_branches(model, ["features.1.1.attn"], x).train()
    outputs = [small(x) for _ in range(8)]
    assert any(not torch.equal(outputs[0], each) for each in outputs)


def test_branches_and_units_are_removed_after_each_other(tmp_path):
    model, x, make = network("resnet")
    units = {"blocks.0.conv1": [0, 2]}
    one = shapprune.remove_units(shapprune.remove_branches(model, ["blocks.2"], x), units, x)
    other = shapprune.remove_branches(shapprune.remove_units(model, units, x), "blocks.2", x)
    torch.testing.assert_close(one.eval()(x), other.eval()(x))
    assert one.kept_units == other.kept_units == {"blocks.0.conv1": [1, 3]}
    assert one.removed_branches == other.removed_branches == ["blocks.2"]
    twice = shapprune.remove_branches(one, ["blocks.0"], x)
    assert twice.removed_branches == ["blocks.2", "blocks.0"]
    shapprune.save(twice, tmp_path / "small.safetensors", accuracy=0.5)
    again = shapprune.load(tmp_path / "small.safetensors", make)
    assert torch.equal(again(x), twice.eval()(x))
    game = shapprune.LayerGame(again, "blocks.1.conv1", x, labels(2))
    assert shapprune.score(game, "taylor").values.shape == (2, 6)


def test_manifests_of_whole_networks_are_as_before(tmp_path):
    shapprune.save(SmallResNet(), tmp_path / "whole.safetensors")
    assert json.loads((tmp_path / "whole.json").read_text()).keys() == {"kept", "sha256", "tensors"}
    model, x, _ = network("resnet")
    small = shapprune.remove_branches(model, ["blocks.2"], x)
    shapprune.save(small, tmp_path / "small.safetensors")
    with pytest.raises(ShapPruneError, match=r"of another architecture: the network has no module blocks.2"):
        shapprune.load(tmp_path / "small.safetensors", ResidualNetwork)


class Shared(nn.Module):
    """Branches that nothing can stand in for: layers used twice, plain operations, a dictionary, no 0 for 0."""

    def __init__(self):
        super().__init__()
        self.layer, self.pair = nn.Linear(8, 8), Pair()
        self.weight, self.bias, self.again = nn.Parameter(torch.rand(8)), nn.Linear(8, 8), nn.Linear(8, 8)
        self.output = nn.Linear(8, 3)

    def forward(self, x):
        x = x.flatten(1)[:, :8]
        x = x + torch.tanh(self.layer(x))
        x = x + torch.tanh(self.layer(x))
        x = x + torch.tanh(x * self.weight)
        x = x + torch.sigmoid(self.bias(x))
        x = x + self.again(torch.tanh(self.again(x)))
        return self.output(x + self.pair(x)["values"])


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(8, 8)

    def forward(self, x):
        return {"values": torch.tanh(self.inner(x)), "more": 3}


def test_refusals_are_told_in_a_sentence():
    model, x, _ = network("resnet")
    for names, message in (
        (["blocks.3"], r"unknown branch 'blocks.3'; did you mean 'blocks.2'\?"),
        (["blocks.1.conv1"], "unknown branch 'blocks.1.conv1'"),
    ):
        with pytest.raises(ShapPruneError, match=message):
            shapprune.remove_branches(model, names, x)
    with pytest.raises(ShapPruneError, match=r"unknown block 'blocks.1'"):
        shapprune.remove_branches(model, ["blocks.1"], x, "blocks")
    with pytest.raises(ShapPruneError, match="ConvNetwork has no residual branches"):
        shapprune.remove_branches(ConvNetwork(), ["blocks.1"], x)
    shared = randomise(Shared())
    found = [each.name for each in shapprune.prunable_branches(shared, x)]
    assert found == ["layer", "layer:2", "branch", "bias", "again", "pair.inner"]
    for name, message in {
        "layer": "branch 'layer' cannot be removed: no module is part of it alone",
        "branch": "branch 'branch' cannot be removed: no module is part of it alone",
        "bias": "Shared without branches bias does not compute what it does with them skipped .*, so they cannot be",
        "pair.inner": "module 'pair' cannot be taken out: it puts out a dict, no tensor",
        "again": "module 'again' cannot be taken out: it is called 2 times in one pass, once is needed",
    }.items():
        with pytest.raises(ShapPruneError, match=message):
            shapprune.remove_branches(shared, [name], x)


def test_parameters_of_branches():
    parts = shapprune.prunable_branches(SmallTransformer(1), images(2))
    attention = 16 + 3 * 8 * 8 + 3 * 8 + 8 * 8 + 8  # with the norm before it
    assert [(each.name, each.parameters) for each in parts] == [
        ("layers.0.attention", attention),
        ("layers.0.mlp", 16 + 8 * 12 + 12 + 12 * 8 + 8),
    ]


class Straight(nn.Module):
    """Linear residual branches without any bend, so what is behind a branch can make up for it."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(Added(), Added())
        self.output = nn.Linear(6, 3)

    def forward(self, x):
        return self.output(self.blocks(x))


class Added(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(6, 6)

    def forward(self, x):
        return x + self.one(x)


@pytest.mark.parametrize("name", ["blocks.0.one", "blocks.1.one"])
def test_layers_behind_make_up_for_a_branch_where_they_can(name):
    model, x = randomise(Straight()), images(40, (6,))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    small = shapprune.remove_branches(model, [name], x, repair="least-squares")
    assert small.removed_branches == [name]
    assert (model(x) - shapprune.remove_branches(model, [name], x)(x)).abs().max() > 0.1
    torch.testing.assert_close(small(x), model(x), atol=1e-3, rtol=1e-3)  # the least ridge is 1e-7 of the inputs
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize(("name", "kind"), [("resnet", "branches"), ("transformer", "blocks"), ("nested", "branches")])
def test_repaired_outputs_come_nearer_and_what_is_before_stays(name, kind):
    model, _, _ = network(name)
    x = images(60, NETWORKS[name][1])
    model.eval()
    names = [part.name for part in shapprune.prunable_branches(model, x, kind)]
    plain, small = (
        shapprune.remove_branches(model, names[1:2], x, kind, repair) for repair in ("none", "least-squares")
    )
    with torch.no_grad():
        before, after = ((each(x) - model(x)).norm() for each in (plain, small))
    assert after < 0.95 * before
    first = [key for key in model.state_dict() if key.startswith((names[0], "stem", "patches", "outer"))]
    assert first
    assert all(
        torch.equal(model.state_dict()[key], small.state_dict()[key]) for key in first if key in small.state_dict()
    )
    changed = {key for key, value in small.state_dict().items() if not torch.equal(value, plain.state_dict()[key])}
    assert changed


def test_another_repair_of_branches_is_refused():
    model, x, _ = network("residual")
    with pytest.raises(ShapPruneError, match="unknown repair of branches 'batchnorm'"):
        shapprune.remove_branches(model, [], x, repair="batchnorm")
