"""Networks that fit budgets, trained on as the workflow does it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from shapprune.core.files import read_json
from shapprune.data.prepared import DataInfo, ImageSet, draw_images, splits, tensors
from shapprune.networks import training
from shapprune.networks.builders import build, builder_of
from shapprune.networks.evaluation import evaluate
from shapprune.networks.recipe import Recipe
from shapprune.networks.storage import load, save
from shapprune.networks.teacher import Teacher
from shapprune.networks.training import fit
from shapprune.pruning.removal import remove_units
from shapprune.workflow.computing.collect import manifests
from shapprune.workflow.computing.retrain import keep_retrained
from shapprune.workflow.computing.run import Run
from shapprune.workflow.stages.registry import TABLES
from shapprune.workflow.store.keys import Task
from shapprune.workflow.store.work import Work
from tests.toys import randomise

NETWORK = {"architecture": "mlp", "options": {"widths": [12, 8]}, "data": "some"}
TRAIN = {"epochs": 6, "batch": 10, "optimizer": "adam", "lr": 0.01}
LABELS = [f"macs0.5/trial{trial}" for trial in (0, 1)]
WIDTHS = 6, 8


@pytest.fixture
def run() -> Run:
    model = randomise(build("mlp", shape=(1, 4, 4), classes=10, widths=[12, 8])).eval()
    pixels = np.random.default_rng(0).integers(0, 256, (90, 1, 4, 4), dtype=np.uint8)
    info = DataInfo("some", (1, 4, 4), 10, 90, 90, (0.3,), (0.3,))
    with torch.no_grad():  # the labels are what the whole network says
        images, _ = tensors(ImageSet(info, pixels, np.arange(90), pixels, np.arange(90)), "test")
        model.output.bias -= model(images).mean(0)  # so that it says different things
        answers = model(images).argmax(1).numpy()
    image_set = ImageSet(info, pixels, answers, pixels[::-1].copy(), answers[::-1].copy())
    return Run(model, NETWORK, image_set, np.arange(30), "cpu", {"net": "small", "seed": 0}, memory_mb=64)


def fitted(run: Run, folder: Path, label: str) -> dict:
    """A network that lost half of its first layer, as `fit_budgets` leaves it."""
    trial = int(label[-1])
    small = remove_units(run.model, {"fc1": range(trial, 12, 2)}, tensors(run.image_set, "test")[0][:2])
    facts = {"trial": trial, "loss": 3.0 + trial, "accuracy": 0.125, "intact_accuracy": 1.0, "network": NETWORK}
    save(small, folder / "budgets" / f"{label}.safetensors", **facts, task={"key": f"key of {trial}"})
    return {"fitted": str(folder / "budgets" / label)}


def work_in(folder: Path, run: Run, teacher: float = 1.0, test_images: int | str = "all", **train) -> Work:
    tasks = {}
    for label in LABELS:
        consumes, trial = fitted(run, folder, label), int(label[-1])
        parts = {"train": {**TRAIN, **train}, "teacher": teacher, "test_images": test_images}
        described = Task("retrain_budgets", {**parts, "fitted": f"key of {trial}"}).describe()
        names = {"net": "small", "seed": 0, "method": "lean", "measure": "macs", "budget": 0.5, "images": 24}
        stem = str(folder / "retrained" / label)
        tasks[label] = described | {"names": names | {"trial": trial}, "stem": stem, "consumes": consumes}
    work = Work(folder / "store", tasks, folder / "unfinished")
    work.find()
    return work


def keep_all(run: Run, work: Work) -> None:
    for label in list(work.missing):
        keep_retrained(run, label, work)


def of(folder: Path, label: str) -> Path:
    return folder / "retrained" / f"{label}.safetensors"


def test_every_network_is_trained_on_and_has_a_row(run, tmp_path):
    keep_all(run, work_in(tmp_path, run))
    table = manifests([str(tmp_path / "retrained")], TABLES["retrained"].columns, {})
    assert tuple(table) == TABLES["retrained"].columns
    assert table["trial"].tolist() == [0, 1]
    assert table["loss_before"].tolist() == [3.0, 4.0]
    assert (table["accuracy_before"] == 0.125).all()
    assert (table["intact_accuracy"] == 1.0).all()
    assert not (tmp_path / "unfinished").exists()
    _, held_back = splits(90, 30)
    for label, row in zip(LABELS, table.to_dict("records"), strict=True):
        small = load(of(tmp_path, label), builder_of(NETWORK, run.image_set.info))
        before = load(tmp_path / "budgets" / f"{label}.safetensors", builder_of(NETWORK, run.image_set.info))
        assert (small.fc1.out_features, small.fc2.out_features) == WIDTHS
        found = evaluate(small, *tensors(run.image_set, "test"))
        assert (row["loss"], row["accuracy"]) == pytest.approx(found)
        chosen = evaluate(small, *tensors(run.image_set, "train", held_back))
        assert (row["validation_loss"], row["validation_accuracy"]) == pytest.approx(chosen)
        assert row["accuracy"] > evaluate(before, *tensors(run.image_set, "test"))[1]
        assert 1 <= row["epochs"] <= TRAIN["epochs"]
        history = read_json(tmp_path / "retrained" / f"{label}.json")["history"]
        assert len(history) == TRAIN["epochs"]
        assert row["seconds"] == pytest.approx(sum(each["seconds"] for each in history))


@pytest.mark.parametrize("share", [0.0, 0.25])
def test_the_training_is_that_of_the_library(share, run, tmp_path):
    keep_all(run, work_in(tmp_path, run, teacher=share))
    for label in LABELS:
        small = load(tmp_path / "budgets" / f"{label}.safetensors", builder_of(NETWORK, run.image_set.info))
        train, held_back = (tensors(run.image_set, "train", places) for places in splits(90, 30))
        teacher = Teacher(run.model, share) if share else None
        start = evaluate(small, *held_back)
        fit(small, *train, *held_back, Recipe.of(TRAIN), int(label[-1]), progress=False, start=start, teacher=teacher)
        found = load(of(tmp_path, label), builder_of(NETWORK, run.image_set.info)).state_dict()
        assert all(torch.equal(each, found[name]) for name, each in small.state_dict().items())


def test_a_job_that_was_cut_off_goes_on_after_the_last_epoch(run, tmp_path, monkeypatch):
    keep_all(run, work_in(tmp_path / "whole", run))
    epochs, train_epoch = [], training._Training.train_epoch

    def cut_off(allowed: int | None) -> None:
        def train_some(self, bar):
            if len(epochs) == allowed:
                raise InterruptedError
            epochs.append(len(self.rows))
            return train_epoch(self, bar)

        monkeypatch.setattr(training._Training, "train_epoch", train_some)
        keep_all(run, work_in(tmp_path / "cut", run))

    with pytest.raises(InterruptedError):
        cut_off(TRAIN["epochs"] + 4)  # in the middle of the second network
    epochs.clear()
    cut_off(None)
    assert epochs == [4, 5]
    for label in LABELS:
        one, other = (read_json(of(tmp_path / folder, label).with_suffix(".json")) for folder in ("whole", "cut"))
        assert one["sha256"] == other["sha256"]
        assert len(other["history"]) == TRAIN["epochs"]


def test_what_is_in_the_store_is_restored(run, tmp_path):
    keep_all(run, work_in(tmp_path, run, epochs=1))
    kept = of(tmp_path, LABELS[0]).read_bytes()
    of(tmp_path, LABELS[0]).unlink()
    again = work_in(tmp_path, run, epochs=1)
    assert not again.missing
    assert of(tmp_path, LABELS[0]).read_bytes() == kept
    assert set(work_in(tmp_path, run, epochs=1, teacher=0.5).missing) == set(LABELS)


def test_a_training_that_only_harms_leaves_the_network_as_it_was(run, tmp_path):
    keep_all(run, work_in(tmp_path, run, optimizer="sgd", lr=30.0, momentum=0.0, epochs=1))
    for label in LABELS:
        facts = read_json(of(tmp_path, label).with_suffix(".json"))
        before = load(tmp_path / "budgets" / f"{label}.safetensors", builder_of(NETWORK, run.image_set.info))
        assert facts["epochs"] == 0
        assert facts["accuracy"] == pytest.approx(evaluate(before, *tensors(run.image_set, "test"))[1])


def test_some_test_images_may_measure(run, tmp_path):
    keep_all(run, work_in(tmp_path, run, test_images=16, epochs=1))
    for trial, label in enumerate(LABELS):
        small = load(of(tmp_path, label), builder_of(NETWORK, run.image_set.info))
        images = tensors(run.image_set, "test", draw_images(np.arange(90), 16, trial))
        assert read_json(of(tmp_path, label).with_suffix(".json"))["accuracy"] == evaluate(small, *images)[1]
