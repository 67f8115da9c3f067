"""Chains of the low-data protocol as the workflow makes them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from shapprune import score
from shapprune.core.files import read_json
from shapprune.data.prepared import DataInfo, ImageSet
from shapprune.networks.builders import build
from shapprune.workflow.computing import low_data
from shapprune.workflow.computing.run import Run
from shapprune.workflow.store.keys import Task
from shapprune.workflow.store.work import Work
from tests.toys import randomise

LAYERS = ("conv1", "conv2", "fc1", "fc2")
CHAIN = {"aggregate": "mean", "ratio": 0.5, "repair": "least-squares", "trial": 1}


@pytest.fixture
def run() -> Run:
    model = randomise(build("lenet5", shape=(1, 28, 28), classes=10, widths=[4, 6, 8, 5]))
    shape, pixels = (1, 28, 28), np.random.default_rng(0).integers(0, 256, (60, 1, 28, 28), dtype=np.uint8)
    info = DataInfo("some", shape, 10, 60, 60, (0.3,), (0.3,))
    image_set = ImageSet(info, pixels, np.arange(60) % 10, pixels, np.arange(60) % 10)
    return Run(model, {}, image_set, np.arange(9), "cpu", {"net": "small", "seed": 0}, memory_mb=64)


def works(folder: Path) -> tuple[Work, Work, Work]:
    """A chain, its steps and its evaluation, with what the store in a folder has of them."""

    def work(stage: str, *labels: str, **parts) -> Work:
        tasks = {}
        for label in labels:
            described = Task(stage, {**parts, "layer": label.rpartition("/")[2]}).describe()
            consumes = {"chain": str(folder / "chain")}
            stem = str(folder / label) if stage == "prune_layers" and label == "chain" else None
            tasks[label] = described | {"names": {"criterion": "taylor", **CHAIN}, "stem": stem, "consumes": consumes}
        found = Work(folder / "store", tasks)
        found.find()
        return found

    game = {"site": "activation", "payoff": "loss", "precision": "fp32"}
    criterion = {"method": "taylor", "options": {"signed": False}, "game": game}
    chain = work("prune_layers", "chain", **CHAIN, images=20)
    steps = work("prune_layers", *(f"chain/{layer}" for layer in LAYERS), **CHAIN, **criterion)
    key = next(iter(chain.tasks.values()))["key"]
    return chain, steps, work("evaluate_pruned", "chain", test_images=30, chain=key)


def test_a_chain_that_was_cut_off_goes_on_after_its_last_step(run, tmp_path, monkeypatch):
    scored = []

    def write(folder, allowed):
        def count(game, *given, **options):
            if len(scored) == allowed:
                raise InterruptedError
            scored.append(game.layer)
            return score(game, *given, **options)

        monkeypatch.setattr(low_data, "score", count)
        low_data.keep_chain(run, "chain", *works(tmp_path / folder))

    write("whole", None)
    assert scored == ["fc2", "fc1", "conv2", "conv1"]
    scored.clear()
    with pytest.raises(InterruptedError):
        write("cut", 2)
    scored.clear()
    write("cut", None)
    assert scored == ["conv2", "conv1"]
    told = [read_json(tmp_path / store / "chain.json") for store in ("whole", "cut")]
    assert [step["removed"] for step in told[0]["steps"]] == [step["removed"] for step in told[1]["steps"]]
    assert told[0]["sha256"] == told[1]["sha256"]
    evaluations = [works(tmp_path / folder)[2] for folder in ("whole", "cut")]
    assert evaluations[0].facts["chain"] == evaluations[1].facts["chain"]


def test_a_chain_is_measured_as_it_is_made_and_later_in_the_same_way(run, tmp_path, monkeypatch):
    low_data.keep_chain(run, "chain", *works(tmp_path))
    made = works(tmp_path)[2].facts["chain"]
    assert made["columns"]["step"] == [0, 1, 2, 3, 4]
    assert made["columns"]["layer"] == ["", "fc2", "fc1", "conv2", "conv1"]
    assert made["columns"]["units_left"] == ["", 3, 4, 3, 2]
    monkeypatch.setattr(low_data, "score", None)  # nothing is scored again
    shutil.rmtree(tmp_path / "store")
    evaluation = works(tmp_path)[2]
    low_data.keep_evaluation(run, "chain", evaluation)
    assert evaluation.facts["chain"] == made
