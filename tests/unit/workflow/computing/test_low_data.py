"""Chains of the low-data protocol as the workflow makes them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from shapprune import score
from shapprune.core.files import read_json
from shapprune.data.prepared import DataInfo, ImageSet, draw_images, splits, tensors
from shapprune.networks.builders import build
from shapprune.workflow.computing import low_data
from shapprune.workflow.computing.low_data import ScoringImages
from shapprune.workflow.computing.run import Run, measure
from shapprune.workflow.store.keys import Task
from shapprune.workflow.store.work import Work
from tests.toys import randomise

LAYERS = ("conv1", "conv2", "fc1", "fc2")
CHAIN = {"aggregate": "mean", "ratio": 0.5, "repair": "least-squares", "trial": 1}


@pytest.fixture
def run() -> Run:
    model = randomise(build("lenet5", shape=(1, 28, 28), classes=10, widths=[4, 6, 8, 5]))
    shape, pixels = (1, 28, 28), np.random.default_rng(0).integers(0, 256, (130, 1, 28, 28), dtype=np.uint8)
    info = DataInfo("some", shape, 10, 70, 60, (0.3,), (0.3,))
    image_set = ImageSet(info, pixels[:70], np.arange(70) % 10, pixels[70:], np.arange(60) % 9)
    held_back = splits(70, 9)[1]
    return Run(model, {}, image_set, held_back, "cpu", {"net": "small", "seed": 0}, memory_mb=64)


def works(folder: Path, scored_on: str = "training", test_images: int | str = 30) -> tuple[Work, Work, Work]:
    """A chain, its steps and its evaluation, with what the store in a folder has of them."""

    def work(stage: str, *labels: str, **parts) -> Work:
        tasks = {}
        for label in labels:
            described = Task(stage, {**parts, "layer": label.rpartition("/")[2]}).describe()
            consumes = {"chain": str(folder / "chain")}
            stem = str(folder / label) if stage == "prune_layers" and label == "chain" else None
            names = {"criterion": "taylor", **CHAIN, "scored_on": scored_on}
            tasks[label] = described | {"names": names, "stem": stem, "consumes": consumes}
        found = Work(folder / "store", tasks)
        found.find()
        return found

    game = {"site": "activation", "payoff": "loss", "precision": "fp32"}
    criterion = {"method": "taylor", "options": {"signed": False}, "game": game}
    drawn = {**CHAIN, "scored_on": scored_on, "images": 20}
    chain = work("prune_layers", "chain", **drawn)
    steps = work("prune_layers", *(f"chain/{layer}" for layer in LAYERS), **drawn, **criterion)
    key = next(iter(chain.tasks.values()))["key"]
    return chain, steps, work("evaluate_pruned", "chain", test_images=test_images, chain=key)


def test_training_images_that_were_not_held_back_score_and_any_test_image_measures(run):
    scoring = ScoringImages.draw(run, "training", 61, trial=1)  # all there are: many have the place of a test image
    assert np.array_equal(scoring.places, splits(70, 9)[0])
    assert not set(scoring.places) & set(run.validation)
    images, labels = scoring.tensors(run)
    expected = tensors(run.image_set, "train", scoring.places)
    assert torch.equal(images, expected[0])
    assert torch.equal(labels, expected[1])
    assert np.array_equal(scoring.places_to_measure(run, "all"), np.arange(60))
    assert np.array_equal(scoring.places_to_measure(run, 60), np.arange(60))
    assert np.array_equal(scoring.places_to_measure(run, 30), draw_images(np.arange(60), 30, trial=1))


def test_test_images_score_and_only_the_others_measure(run):
    scoring = ScoringImages.draw(run, "test", 20, trial=1)
    assert np.array_equal(scoring.places, draw_images(np.arange(60), 20, trial=1))
    assert torch.equal(scoring.tensors(run)[0], tensors(run.image_set, "test", scoring.places)[0])
    others = np.setdiff1d(np.arange(60), scoring.places)
    assert np.array_equal(scoring.places_to_measure(run, "all"), others)
    assert np.array_equal(scoring.places_to_measure(run, 30), draw_images(others, 30, trial=1))


def test_trials_draw_other_images_of_the_training_part(run):
    first, second, again = (ScoringImages.draw(run, "training", 20, trial).places for trial in (0, 1, 0))
    assert np.array_equal(first, again)
    assert np.array_equal(first, draw_images(splits(70, 9)[0], 20, trial=0))  # as many for fine-tuning are the same
    assert not np.array_equal(first, second)


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


@pytest.mark.parametrize("test_images", [30, "all"])
@pytest.mark.parametrize("scored_on", ["training", "test"])
def test_a_chain_is_measured_as_it_is_made_and_later_in_the_same_way(
    scored_on, test_images, run, tmp_path, monkeypatch
):
    low_data.keep_chain(run, "chain", *works(tmp_path, scored_on, test_images))
    made = works(tmp_path, scored_on, test_images)[2].facts["chain"]
    assert made["columns"]["step"] == [0, 1, 2, 3, 4]
    assert made["columns"]["layer"] == ["", "fc2", "fc1", "conv2", "conv1"]
    assert made["columns"]["units_left"] == ["", 3, 4, 3, 2]
    scoring = ScoringImages.draw(run, scored_on, 20, trial=1)
    manifest = read_json(tmp_path / "chain.json")
    assert (manifest["scored_on"], manifest["images"]) == (scored_on, scoring.places.tolist())
    intact = measure(run.model, *tensors(run.image_set, "test", scoring.places_to_measure(run, test_images)))
    assert {name: made["columns"][name][0] for name in intact} == intact
    monkeypatch.setattr(low_data, "score", None)  # nothing is scored again
    shutil.rmtree(tmp_path / "store")
    evaluation = works(tmp_path, scored_on, test_images)[2]
    low_data.keep_evaluation(run, "chain", evaluation)
    assert evaluation.facts["chain"] == made
