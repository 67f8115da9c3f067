"""timm's BatchNorm with a non-linearity behind it: one module that does both."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import shapprune
from shapprune import LayerGame, prunable_layers, remove_units
from shapprune.graph.outputs import find_difference
from shapprune.graph.tracing import trace
from shapprune.graph.unit_graph import UnitGraph
from shapprune.pruning.removal import mask_units
from shapprune.pruning.repair import REPAIRS, repair
from tests.toys import images, randomise
from tests.unit.transformers import CASES, build, logits


class Chain(nn.Module):
    """Two convolutions, each with timm's norm, the second with SiLU, and a linear layer."""

    def __init__(self):
        super().__init__()
        act = pytest.importorskip("timm").layers.BatchNormAct2d
        self.one, self.norm = nn.Conv2d(1, 6, 3, bias=False), act(6)
        self.two, self.other = nn.Conv2d(6, 5, 3, bias=False), act(5, act_layer=nn.SiLU)
        self.bare, self.output = act(5, apply_act=False), nn.Linear(5, 3)

    def forward(self, x):
        return self.output(self.bare(self.other(self.two(self.norm(self.one(x))))).mean((2, 3)))


@pytest.fixture
def chain():
    return randomise(Chain()).eval(), images(7, (1, 9, 9))


def test_units_are_valued_behind_it(chain):
    model, x = chain
    game = LayerGame(model, "two", x, torch.zeros(7, dtype=torch.long))
    kept = torch.tensor([[True, False, True, True, False]])
    with torch.no_grad():
        values = model.bare(model.other(model.two(model.norm(model.one(x))))) * kept[0, :, None, None]
        outputs = model.output(values.mean((2, 3)))
        expected = -nn.functional.cross_entropy(outputs, torch.zeros(7, dtype=torch.long), reduction="none")
    assert torch.allclose(game.value(kept)[0].float(), expected, atol=1e-5)


def test_what_is_left_computes_what_the_masked_network_does(chain, tmp_path):
    model, x = chain
    assert [each.name for each in prunable_layers(model, x)] == ["one", "two"]
    small = remove_units(model, {"one": [0, 4]}, x)
    assert small.norm.num_features == len(small.norm.running_mean) == 4
    with torch.no_grad():
        found = small(x)
    assert torch.allclose(found, mask_units(model, {"one": [0, 4]}, x), atol=1e-5)
    shapprune.save(small, tmp_path / "small")
    with torch.no_grad():
        assert torch.equal(shapprune.load(tmp_path / "small", lambda: copy.deepcopy(model))(x), found)


@pytest.mark.parametrize("how", REPAIRS)
def test_repairs_take_it_for_what_it_is(chain, how):
    model, x = chain
    plain = remove_units(model, {"one": [0, 4]}, x)
    small = repair(copy.deepcopy(plain), model, {"one": [0, 4]}, x, how)
    with torch.no_grad():
        before, removed, after = (each.two(each.norm(each.one(x))).mean((0, 2, 3)) for each in (model, plain, small))
    assert UnitGraph(model, x).norm_behind("two") is None  # its running mean is no longer that of the layer's outputs
    if how == "bias":
        assert torch.allclose(after, before, atol=1e-5)
    if how == "least-squares":
        assert (after - before).norm() < (removed - before).norm()
    if how == "batchnorm":
        assert torch.allclose(small.other.running_mean, removed, atol=1e-5)


def test_torch_export_records_it_too():
    model, x = build(CASES["timm mobilevit"]), CASES["timm mobilevit"].inputs
    called = [str(node.target) for node in trace(model, x).graph.nodes if node.op == "call_module"]
    assert called[:3] == ["stem.conv", "stem.bn", "stages.0.0.conv1_1x1.conv"]
    units = {"stages.0.0.conv1_1x1.conv": [0, 5], "stages.2.1.conv_fusion.conv": [3]}
    small = remove_units(model, units, x)
    with torch.no_grad():
        assert find_difference(logits(small(x)), logits(mask_units(model, units, x))) < 1e-4
