"""The sequential low-data protocol."""

from __future__ import annotations

import pytest
import torch

import shapprune
from shapprune import LayerGame, ShapPruneError
from shapprune.protocols.low_data import prune_sequentially
from tests.toys import ConvNetwork, images, labels, randomise

LAYERS = ["features.0", "features.4", "fc"]


def steps(model, ratio=0.5, criterion="leave-one-out", **options):
    return list(
        prune_sequentially(
            model, LAYERS, images(6), labels(6), lambda game: shapprune.score(game, criterion, **options), ratio
        )
    )


def test_layers_are_pruned_from_the_output_and_scored_on_what_is_left():
    model = randomise(ConvNetwork())
    chain = steps(model)
    assert [step.layer for step in chain] == ["fc", "features.4", "features.0"]
    assert [len(step.removed) for step in chain] == [4, 3, 2]
    before = model
    for step in chain:
        scores = shapprune.score(LayerGame(before, step.layer, images(6), labels(6)), "leave-one-out")
        assert step.removed == sorted(scores.order()[: len(step.removed)].tolist())
        before = step.model
    assert [before.features[0].out_channels, before.features[4].out_channels, before.fc.out_features] == [2, 3, 4]
    assert set(before.kept_units) == set(LAYERS)
    assert model.fc.out_features == 8


def test_the_ratio_is_rounded_down():
    assert [len(step.removed) for step in steps(randomise(ConvNetwork()), ratio=0.25)] == [2, 1, 1]
    assert [len(step.removed) for step in steps(randomise(ConvNetwork()), ratio=0.1)] == [0, 0, 0]


def test_same_seed_same_chain():
    first, second = (steps(randomise(ConvNetwork()), criterion="permutation", seed=4) for _ in range(2))
    assert [step.removed for step in first] == [step.removed for step in second]
    assert torch.equal(first[-1].model.eval()(images(2)), second[-1].model.eval()(images(2)))


@pytest.mark.parametrize("ratio", [0, 1, 1.5, -0.1])
def test_bad_ratio(ratio):
    with pytest.raises(ShapPruneError, match="not strictly between 0 and 1"):
        steps(ConvNetwork(), ratio=ratio)
