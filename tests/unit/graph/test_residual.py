"""What can be skipped: branches one by one, or blocks of them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from shapprune import ShapPruneError
from shapprune.data.vision import torchvision
from shapprune.graph.residual import find_blocks, find_parts
from shapprune.graph.unit_graph import UnitGraph
from tests.residual import Parallel, SmallResNet, SmallTransformer
from tests.toys import ConvNetwork, ResidualNetwork, images


class AfterNorm(nn.Module):
    """A layer that normalises what comes out: it does something without its branch too."""

    def __init__(self):
        super().__init__()
        self.layer, self.norm = nn.Linear(8, 8), nn.LayerNorm(8)

    def forward(self, x):
        return self.norm(x + self.layer(x))


class Wrapped(nn.Module):
    """A layer whose branch is in a module of its own, with a dropout behind the sum."""

    def __init__(self):
        super().__init__()
        self.inside, self.drop = nn.Sequential(AddedTo()), nn.Dropout(0.5)

    def forward(self, x):
        return self.drop(self.inside(x))


class AddedTo(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.same = nn.Linear(8, 8), nn.Identity()

    def forward(self, x):
        return self.same(self.layer(x) + x)


def blocks(model, x=None):
    found = find_blocks(UnitGraph(model.eval(), images(2) if x is None else x))
    return {each.name: len(each.branches) for each in found}


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (SmallTransformer(2), {"layers.0": 2, "layers.1": 2}),
        (SmallTransformer(1, Parallel), {"layers.0": 2}),
        # A ReLU follows the sum; it leaves what another ReLU has put out as it is. blocks.1 changes the size.
        (SmallResNet(), {"blocks.0": 1, "blocks.2": 1}),
        (SmallTransformer(1, AfterNorm), {}),
        (SmallTransformer(1, Wrapped), {"layers.0.inside.0": 1}),
        (ConvNetwork(), {}),
    ],
    ids=["transformer", "parallel", "resnet", "norm behind", "wrapped", "no sums"],
)
def test_blocks_are_the_innermost_modules_that_hand_on_what_they_are_given(model, expected):
    assert blocks(model) == expected


def test_torchvision():
    model = torchvision.models.SwinTransformer([4, 4], 8, [2, 2], [2, 2], [2, 2], num_classes=3)
    found = blocks(model, torch.rand(2, 3, 32, 32))
    assert found == {f"features.{place}": 2 for place in ("1.0", "1.1", "3.0", "3.1")}


def test_what_goes_in_and_comes_out():
    graph = UnitGraph(SmallTransformer(2).eval(), images(2))
    first, second = find_parts(graph, "blocks")
    assert first.after is second.before
    assert first.before is find_parts(graph, "branches")[0].before
    assert not first.own & second.own


def test_refusals_are_told_in_a_sentence():
    with pytest.raises(ShapPruneError, match="unknown kind 'block'; did you mean 'blocks'"):
        find_parts(UnitGraph(SmallResNet(), images(2)), "block")
    for kind in ("branches", "blocks"):
        with pytest.raises(ShapPruneError, match="ConvNetwork has no residual branches"):
            find_parts(UnitGraph(ConvNetwork(), images(2)), kind)
    with pytest.raises(ShapPruneError, match=r"ResidualNetwork has no blocks: no module .* one by one: conv1"):
        find_parts(UnitGraph(ResidualNetwork(), images(2)), "blocks")
