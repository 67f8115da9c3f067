"""Networks that fit budgets as the workflow makes them."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from shapprune.core.errors import ShapPruneError
from shapprune.core.files import read_json
from shapprune.data.prepared import DataInfo, ImageSet, splits, tensors, write_prepared
from shapprune.networks.builders import build, builder_of
from shapprune.networks.storage import load
from shapprune.pruning import selection
from shapprune.pruning.shrink import Shrinker
from shapprune.workflow.computing.budgets import keep_fitted
from shapprune.workflow.computing.collect import manifests
from shapprune.workflow.computing.export import keep_exported
from shapprune.workflow.computing.run import Run
from shapprune.workflow.stages.budgets import DAMAGE
from shapprune.workflow.stages.registry import TABLES
from shapprune.workflow.store.keys import Task
from shapprune.workflow.store.work import Work
from tests.toys import randomise

NETWORK = {"architecture": "mlp", "options": {"widths": [12, 8]}, "data": "some"}
HOW = {
    "criterion": "reconstruction",
    "options": {"ridge": 0.1},
    "aggregate": "mean",
    "allocation": "damage",
    "repair": "least-squares",
    "copies": "auto",
    "multiple": 1,
    "distil": 8,
    "augment": [],
}
LABELS = [f"macs{size}/trial{trial}" for trial in (0, 1) for size in (0.75, 0.5)]


@pytest.fixture
def run() -> Run:
    model = randomise(build("mlp", shape=(1, 4, 4), classes=10, widths=[12, 8])).eval()
    pixels = np.random.default_rng(0).integers(0, 256, (60, 1, 4, 4), dtype=np.uint8)
    info = DataInfo("some", (1, 4, 4), 10, 60, 60, (0.3,), (0.3,))
    image_set = ImageSet(info, pixels, np.arange(60) % 10, pixels, np.arange(60) % 10)
    return Run(model, NETWORK, image_set, np.arange(9), "cpu", {"net": "small", "seed": 0}, memory_mb=64)


def work_in(folder: Path, test_images: int | str = "all", **how) -> Work:
    """Two budgets in two trials, with what the store in a folder has of them."""
    tasks = {}
    for label in LABELS:
        size, trial = float(label[4:].partition("/")[0]), int(label[-1])
        names = {"measure": "macs", "budget": size, "images": 24, "trial": trial}
        described = Task("fit_budgets", {**HOW, **how, **names, "test_images": test_images}).describe()
        names |= {"net": "small", "seed": 0, "method": "lean"}
        tasks[label] = described | {"names": names, "stem": str(folder / "lean" / label), "consumes": {}}
    for trial in (0, 1):
        parts = {name: {**HOW, **how}[name] for name in DAMAGE} | {"images": 24, "trial": trial}
        described = Task("fit_budgets", parts).describe()
        tasks[f"damage/trial{trial}"] = described | {"names": {}, "stem": None, "consumes": {}}
    work = Work(folder / "store", tasks, folder / "unfinished")
    work.find()
    return work


def test_every_budget_has_a_network_and_a_row(run, tmp_path):
    keep_fitted(run, work_in(tmp_path))
    table = manifests([str(tmp_path / "lean")], TABLES["budgets"].columns, {})
    assert tuple(table) == TABLES["budgets"].columns
    assert len(table) == len(LABELS)
    assert (table["macs"] <= table["budget"] * table["intact_macs"]).all()
    assert table["agreement"].between(table["agreement_low"], table["agreement_high"]).all()
    training, _ = splits(60, 9)
    test, labels = tensors(run.image_set, "test")
    for label in LABELS:
        facts = read_json(tmp_path / "lean" / f"{label}.json")
        small = load(tmp_path / "lean" / f"{label}.safetensors", builder_of(NETWORK, run.image_set.info))
        with torch.no_grad():
            answers, whole = small(test).argmax(1), run.model(test).argmax(1)
        assert facts["accuracy"] == pytest.approx((answers == labels).float().mean().item())
        assert facts["test_agreement"] == pytest.approx((answers == whole).float().mean().item())
        assert facts["intact_accuracy"] == pytest.approx((whole == labels).float().mean().item())
        assert len(set(facts["calibration"]) & set(training)) == 24
        assert len(facts["kept"]["fc1"]) == small.fc1.out_features
    assert not (tmp_path / "unfinished").exists()


def test_budgets_of_a_trial_share_what_they_can(run, tmp_path, monkeypatch):
    measured, measure = [], selection.Selector.damage
    monkeypatch.setattr(selection.Selector, "damage", lambda *given: measured.append(len(given[1])) or measure(*given))
    keep_fitted(run, work_in(tmp_path, distil=0))
    assert measured == [24, 24]  # once a trial
    keep_fitted(run, work_in(tmp_path, copies=0))  # another method with the same orders takes what is in the store
    assert measured == [24, 24]
    keep_fitted(run, work_in(tmp_path, criterion="weight-norm", options={}, distil=0))
    assert measured == [24] * 4


def test_damage_from_the_store_is_that_which_was_measured(run, tmp_path):
    keep_fitted(run, work_in(tmp_path / "whole", distil=0))
    keep_fitted(run, work_in(tmp_path / "other", distil=0))
    for record in (tmp_path / "other" / "store").glob("*/*/manifest.json"):
        if "budget" in read_json(record)["parts"]:
            shutil.rmtree(record.parent)
    work = work_in(tmp_path / "other", distil=0)
    assert set(work.missing) == set(LABELS)
    keep_fitted(run, work)
    for label in LABELS:
        one, other = (read_json(tmp_path / folder / "lean" / f"{label}.json") for folder in ("whole", "other"))
        assert one["sha256"] == other["sha256"]


def test_a_job_that_was_cut_off_makes_what_is_missing(run, tmp_path, monkeypatch):
    keep_fitted(run, work_in(tmp_path / "whole"))
    made, shrink = [], Shrinker.shrink

    def cut_off(allowed):
        def shrink_some(shrinker, budget, checkpoint):
            if len(made) == allowed:
                raise InterruptedError
            made.append(budget.amount)
            assert checkpoint == tmp_path / "cut" / "unfinished"  # from which distilling goes on
            return shrink(shrinker, budget, checkpoint)

        monkeypatch.setattr(Shrinker, "shrink", shrink_some)
        keep_fitted(run, work_in(tmp_path / "cut"))

    with pytest.raises(InterruptedError):
        cut_off(3)
    assert made == [0.75, 0.5, 0.75]
    made.clear()
    cut_off(None)
    assert made == [0.5]
    for label in LABELS:
        one, other = (read_json(tmp_path / folder / "lean" / f"{label}.json") for folder in ("whole", "cut"))
        assert one["sha256"] == other["sha256"]


def test_some_test_images_may_measure(run, tmp_path):
    keep_fitted(run, work_in(tmp_path, test_images=20, distil=0))
    for label in LABELS:
        facts = read_json(tmp_path / "lean" / f"{label}.json")
        assert (20 * facts["accuracy"]).is_integer()
        assert (facts["distil_steps"], facts["distil_rate"]) == (0, None)


def test_a_budget_that_cannot_be_met_stops_before_anything_is_made(run, tmp_path):
    work = work_in(tmp_path, multiple=8)
    with pytest.raises(ShapPruneError, match="cannot be met"):
        keep_fitted(run, work)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_networks_are_exported(run, tmp_path):
    onnx = pytest.importorskip("onnxruntime")
    work = work_in(tmp_path, distil=0)
    keep_fitted(run, work)
    write_prepared(tmp_path / "some.npz", run.image_set)
    tasks = {}
    for label, task in ((label, work.tasks[label]) for label in LABELS):
        consumes = {"fitted": task["stem"]}
        described = Task("export_budgets", {"fitted": task["key"]}).describe()
        tasks[label] = described | {"names": {}, "stem": str(tmp_path / "onnx" / label), "consumes": consumes}
    export = Work(tmp_path / "store", tasks)
    keep_exported(SimpleNamespace(input=SimpleNamespace(data=str(tmp_path / "some.npz"))), export)
    images, _ = tensors(run.image_set, "test", np.arange(3))
    for label in LABELS:
        session = onnx.InferenceSession(str(tmp_path / "onnx" / f"{label}.onnx"))
        small = load(tmp_path / "lean" / f"{label}.safetensors", builder_of(NETWORK, run.image_set.info))
        with torch.no_grad():
            np.testing.assert_allclose(session.run(None, {"images": images.numpy()})[0], small(images), atol=1e-4)
    again = Work(tmp_path / "store", tasks)
    again.find()
    assert not again.missing
