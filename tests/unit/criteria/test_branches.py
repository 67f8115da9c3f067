"""Criteria of branches and blocks: values by hand, and what they cost."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shapprune
from shapprune import BranchGame, LayerGame, ShapPruneError
from tests.residual import Layer, SmallResNet, SmallTransformer
from tests.toys import ConvNetwork, images, labels, randomise


def turned(before, after, axis):
    cosine = F.cosine_similarity(before, after, dim=axis)
    return 1 - cosine.flatten(1).mean(1)


def test_influence_of_blocks_over_the_features_of_tokens():
    model = randomise(SmallTransformer(3)).eval()
    g = BranchGame(model, images(4), kind="blocks", payoff="kl")
    x = model.patches(g.images).flatten(2).transpose(1, 2) + model.positions
    expected = []
    for layer in model.layers:
        y = layer(x)
        expected.append(turned(x, y, -1))
        x = y
    scores = shapprune.score(g, "block-influence")
    torch.testing.assert_close(scores.values, torch.stack(expected, 1).double().detach(), atol=1e-5, rtol=1e-5)
    assert scores.evaluations == 1


def test_influence_of_branches_over_channels():
    model = randomise(SmallResNet()).eval()
    g = BranchGame(model, images(4), payoff="kl")
    x, expected = model.stem(g.images), []
    for block in model.blocks:
        shortcut = x if block.downsample is None else block.downsample(x)
        branch = block.bn2(block.conv2(F.relu(block.bn1(block.conv1(x)))))
        expected.append(turned(shortcut, shortcut + branch, 1))
        x = F.relu(shortcut + branch)
    values = shapprune.score(g, "block-influence").values
    torch.testing.assert_close(values, torch.stack(expected, 1).double().detach(), atol=1e-5, rtol=1e-5)


def test_what_changes_nothing_has_no_influence():
    model = SmallTransformer(2).eval()
    nn.init.zeros_(model.layers[1].mlp[3].weight)
    nn.init.zeros_(model.layers[1].mlp[3].bias)
    g = BranchGame(model, images(3), payoff="kl")
    values = shapprune.score(g, "block-influence").values
    assert values[:, 3].abs().max() == 0
    assert values[:, :3].min() > 0
    gone = shapprune.score(g.without([0]), "block-influence").values
    assert gone[:, 0].abs().max() == 0
    assert (gone[:, 1] != values[:, 1]).all()


def test_influence_where_an_image_is_one_vector():
    class Added(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = nn.Linear(4, 4)

        def forward(self, x):
            return x + self.one(x)

    model, x = randomise(nn.Sequential(Added(), nn.Linear(4, 3))), images(5, (4,))
    expected = 1 - F.cosine_similarity(x, model[0](x), dim=1)
    values = shapprune.score(BranchGame(model, x, payoff="kl"), "block-influence").values
    torch.testing.assert_close(values[:, 0], expected.double().detach(), atol=1e-6, rtol=0)  # float32


class ChannelsLast(nn.Module):
    """A layer on [N, C, H, W] that works on the channels as its last axis inside, as ConvNeXt does."""

    def __init__(self):
        super().__init__()
        self.deep, self.wide = nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.Linear(4, 4)

    def forward(self, x):
        return x + self.wide(self.deep(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def test_features_are_found_where_they_lie():
    model = nn.Sequential(nn.Conv2d(1, 4, 1), ChannelsLast(), nn.Flatten(), nn.Linear(4 * 64, 3))
    g = BranchGame(model, images(2), payoff="kl")
    assert g.feature_axis(0) == 1
    assert BranchGame(SmallTransformer(1, Layer), images(2), payoff="kl").feature_axis(1) == -1


def test_influence_is_of_branches_alone():
    g = LayerGame(randomise(ConvNetwork()), "fc", images(3), labels(3))
    scores = "block-influence scores residual branches and blocks"
    with pytest.raises(ShapPruneError, match=f"{scores}, so it needs a BranchGame"):
        shapprune.score(g, "block-influence")
    with pytest.raises(ShapPruneError, match=f"{scores}, not units of a layer"):
        shapprune.prune(g.model, g.images, ratio=0.5, criterion="block-influence")
