"""The sequential low-data protocol."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import shapprune
from shapprune import LayerGame, ShapPruneError, score
from shapprune.core.files import read_json
from shapprune.data.prepared import DataInfo, ImageSet
from shapprune.networks.builders import build
from shapprune.pruning.protocols.low_data import prune_sequentially
from shapprune.workflow.stages import low_data
from shapprune.workflow.stages.run import Run
from shapprune.workflow.store.keys import Task
from shapprune.workflow.store.work import Work
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


def test_a_chain_that_was_cut_off_goes_on_after_its_last_step(tmp_path, monkeypatch):
    model = randomise(build("lenet5", shape=(1, 28, 28), classes=10, widths=[4, 6, 8, 5]))
    shape, pixels = (1, 28, 28), np.random.default_rng(0).integers(0, 256, (60, 1, 28, 28), dtype=np.uint8)
    info = DataInfo("some", shape, 10, 60, 60, (0.3,), (0.3,))
    image_set = ImageSet(info, pixels, np.arange(60) % 10, pixels, np.arange(60) % 10)
    run = Run(model, {}, image_set, np.arange(9), "cpu", {"net": "small", "seed": 0}, memory_mb=64)
    names = {
        "net": "small",
        "seed": 0,
        "criterion": "taylor",
        "aggregate": "mean",
        "ratio": 0.5,
        "repair": "none",
        "trial": 1,
    }
    steps = {layer: f"chain/{layer}" for layer in ("conv1", "conv2", "fc1", "fc2")}
    scored = []

    def write(store, allowed):
        def count(game, *given, **options):
            if len(scored) == allowed:
                raise InterruptedError
            scored.append(game.layer)
            return score(game, *given, **options)

        monkeypatch.setattr(low_data, "score", count)
        task = lambda label: Task("prune_layers", {"of": label}).describe() | {"names": names}  # noqa: E731
        works = [
            Work(tmp_path / store, {each: task(each) for each in labels}) for labels in (["chain"], steps.values())
        ]
        scoring = {"site": "activation", "payoff": "loss", "precision": "fp32"}
        entry = {"method": "taylor", "trials": 1, "aggregates": ["mean"], "signed": False}
        low_data.write_chain(run, "chain", steps, tmp_path / store / "out", entry, 20, scoring, *works)

    write("whole", None)
    assert scored == ["fc2", "fc1", "conv2", "conv1"]
    scored.clear()
    with pytest.raises(InterruptedError):
        write("cut", 2)
    scored.clear()
    write("cut", None)
    assert scored == ["conv2", "conv1"]
    told = [read_json(tmp_path / store / "out" / "chain.json") for store in ("whole", "cut")]
    assert [step["removed"] for step in told[0]["steps"]] == [step["removed"] for step in told[1]["steps"]]
    assert told[0]["sha256"] == told[1]["sha256"]
