"""Deactivated and quantised networks as the workflow makes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from shapprune.core.files import read_json
from shapprune.data.prepared import DataInfo, ImageSet, splits, tensors
from shapprune.networks.builders import build, builder_of
from shapprune.networks.evaluation import evaluate
from shapprune.parameters import hessians
from shapprune.parameters.deactivation import deactivate
from shapprune.parameters.quantisation import Scheme, quantise
from shapprune.parameters.quantised_files import load_quantised
from shapprune.shapley.score_files import write_scores
from shapprune.shapley.scores import UnitScores
from shapprune.workflow.computing.collect import manifests
from shapprune.workflow.computing.deactivation import keep_deactivated
from shapprune.workflow.computing.quantisation import keep_quantised
from shapprune.workflow.computing.run import Run
from shapprune.workflow.stages.deactivation import DeactivateUnits
from shapprune.workflow.stages.registry import TABLES
from shapprune.workflow.store.keys import Task
from shapprune.workflow.store.work import Work
from tests.toys import randomise

NETWORK = {"architecture": "mlp", "options": {"widths": [12, 8]}, "data": "some"}
UNITS = {"fc1": 12, "fc2": 8}
METHODS = {"round": {}, "gptq": {}, "turns": {"method": "gptq", "in_turn": True}, "ours": {"method": "shapley"}}


@pytest.fixture
def run() -> Run:
    model = randomise(build("mlp", shape=(1, 4, 4), classes=10, widths=[12, 8])).eval()
    pixels = np.random.default_rng(0).integers(0, 256, (60, 1, 4, 4), dtype=np.uint8)
    info = DataInfo("some", (1, 4, 4), 10, 60, 60, (0.3,), (0.3,))
    image_set = ImageSet(info, pixels, np.arange(60) % 10, pixels, np.arange(60) % 10)
    return Run(model, NETWORK, image_set, np.arange(9), "cpu", {"net": "small", "seed": 0}, memory_mb=64)


def scores_in(folder: Path) -> dict[str, torch.Tensor]:
    """Scores of three images of both layers, as a job that scores leaves them."""
    values = {layer: torch.randn(3, n, generator=torch.Generator().manual_seed(n)) for layer, n in UNITS.items()}
    for layer, each in values.items():
        facts = {"task": {"key": f"key of {layer}"}}
        write_scores(folder / f"{layer}.npz", UnitScores(each, "some", 1.0, 0.1), np.arange(3), facts, {"mean"})
    return values


@pytest.mark.parametrize("scope", ["all", "rows"])
def test_shares_of_stored_orders_are_zero(run, tmp_path, scope):
    values, tasks = scores_in(tmp_path), {}
    consumes = {"scores": {layer: str(tmp_path / layer) for layer in UNITS}}
    for aggregate in ("mean", "mean+2std"):
        for share in (0.25, 0.5):
            names = {"criterion": "some", "aggregate": aggregate, "trial": 0, "share": share}
            parts = {"scores": {layer: f"key of {layer}" for layer in UNITS}, "scope": scope, "test_images": 40}
            described = Task("deactivate_units", {**parts, "aggregate": aggregate, "share": share}).describe()
            names |= {"net": "small", "seed": 0}
            tasks[f"{aggregate}/{share}"] = described | {"names": names, "stem": None, "consumes": consumes}
    work = Work(tmp_path / "store", tasks)
    before = {name: each.clone() for name, each in run.model.state_dict().items()}
    keep_deactivated(run, work)
    rows = list(work.rows(DeactivateUnits.columns))
    assert [set(row) for row in rows] == [set(DeactivateUnits.columns)] * 4
    assert [row["deactivated"] for row in rows] == [3 + 2, 6 + 4] * 2
    test = tensors(run.image_set, "test", run.test_places(40, trial=0))
    scores = {layer: each.double().mean(0) + 2 * each.double().std(0, correction=0) for layer, each in values.items()}
    expected = evaluate(deactivate(run.model, scores, 0.5, test[0][:2], scope=scope), *test)
    assert (rows[3]["loss"], rows[3]["accuracy"]) == pytest.approx(expected)
    assert (rows[3]["intact_loss"], rows[3]["intact_accuracy"]) == pytest.approx(evaluate(run.model, *test))
    assert all(torch.equal(each, before[name]) for name, each in run.model.state_dict().items())
    again = Work(tmp_path / "store", tasks)
    again.find()
    assert list(again.rows(DeactivateUnits.columns)) == rows


def quantising_in(folder: Path) -> Work:
    """Each method with 4 bits in two trials, with what the store in a folder has of them."""
    tasks = {}
    for method, settings in METHODS.items():
        beta = 0.3 if method == "ours" else None
        for trial in (0, 1):
            how = {"method": method, "in_turn": False, "damping": 0.01, **settings}
            names = {"bits": 4, "beta": beta, "images": 20, "trial": trial}
            described = Task("quantise_network", {**how, **names, "test_images": "all"}).describe()
            names |= {"net": "small", "seed": 0, "method": method}
            label = f"{method}/trial{trial}"
            tasks[label] = described | {"names": names, "stem": str(folder / "few" / label), "consumes": {}}
    work = Work(folder / "store", tasks)
    work.find()
    return work


@pytest.mark.filterwarnings("ignore:Hessians that were not positive definite")
def test_every_method_has_a_network_and_a_row(run, tmp_path):
    keep_quantised(run, quantising_in(tmp_path))
    table = manifests([str(tmp_path / "few")], TABLES["quantised"].columns, {})
    assert tuple(table) == TABLES["quantised"].columns
    assert table.groupby("method")["beta"].count().to_dict() == {"gptq": 0, "ours": 2, "round": 0, "turns": 0}
    proxies = table.groupby("method")["proxy_loss"].mean()
    assert proxies["gptq"] < proxies["round"]
    assert (table["bytes"] < table["intact_bytes"] / 2).all()
    training, _ = splits(60, 9)
    test = tensors(run.image_set, "test")
    for method, settings in METHODS.items():
        path = tmp_path / "few" / method / "trial1.safetensors"
        facts = read_json(path.with_suffix(".json"))
        small = load_quantised(path, builder_of(NETWORK, run.image_set.info))
        assert (facts["loss"], facts["accuracy"]) == pytest.approx(evaluate(small.model, *test))
        assert len(set(facts["calibration"]) & set(training)) == 20
        images, _ = tensors(run.image_set, "train", np.array(facts["calibration"]))
        scheme = Scheme(**{"method": method, **settings}, bits=4, beta=0.3)
        expected = quantise(run.model, images, scheme)
        for name, each in expected.weights.items():
            assert torch.equal(small.weights[name].codes, each.codes), method
        H = hessians.input_hessians(run.model, images, ["fc1"])["fc1"]
        off = (run.model.fc1.weight - small.model.fc1.weight).detach().double()
        assert facts["proxy_losses"]["fc1"] == pytest.approx(float((off @ H @ off.T).trace()), rel=1e-5)


def test_what_the_store_has_is_not_quantised_again(run, tmp_path, monkeypatch):
    keep_quantised(run, quantising_in(tmp_path))
    before = {path: path.read_bytes() for path in (tmp_path / "few").rglob("*.safetensors")}
    assert len(before) == 2 * len(METHODS)
    for path in before:
        path.unlink()
    work = quantising_in(tmp_path)
    assert not work.missing
    assert all(path.read_bytes() == each for path, each in before.items())
