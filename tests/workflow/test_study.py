"""The workflow, run as a user runs it."""

from __future__ import annotations

import copy
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

import shapprune
from shapprune.core.files import read_json
from shapprune.data.prepared import splits, tensors
from shapprune.data.sets import load
from shapprune.networks.builders import build
from shapprune.networks.evaluation import evaluate
from shapprune.shapley.score_files import read_scores
from shapprune.workflow.stages.estimators import StudyEstimators
from tests.study import STUDY, Workflow, changed

ORDERS = {("random", "mean"): 2, ("taylor", "mean"): 1, ("shapley", "mean"): 2, ("shapley", "mean+2std"): 2}
PRUNED = 3  # orders that the low-data protocol has: that of taylor and two of shapley
INTACT, HALF = (64 + 1) * 9 + (9 + 1) * 6 + (6 + 1) * 10, (64 + 1) * 5 + (5 + 1) * 3 + (3 + 1) * 10  # parameters


def table(workflow: Workflow, name: str) -> pd.DataFrame:
    found = pd.read_csv(workflow.folder / "results" / "tables" / f"{name}.csv")
    assert len(found)
    return found


def run_folder(workflow: Workflow) -> Path:
    return workflow.folder / "results" / "small" / "seed0"


def small_network() -> torch.nn.Module:
    return build("mlp", shape=(1, 8, 8), classes=10, widths=[9, 6])


def test_tables_hold_one_observation_a_row(finished):
    trials = sum(ORDERS.values())
    auc = table(finished, "auc")
    assert list(auc) == [
        *("net", "seed", "criterion", "aggregate", "trial", "layer", "units", "auc_loss", "auc_accuracy")
    ]
    assert len(auc) == trials * 3  # two layers and all
    assert set(auc["layer"]) == {"fc1", "fc2", "all"}
    assert set(auc[auc["layer"] == "all"]["units"]) == {15}
    assert auc[auc["layer"] == "all"].groupby(["criterion", "aggregate"]).size().to_dict() == ORDERS

    curves = table(finished, "curves")
    assert len(curves) == trials * (10 + 7)
    assert curves[curves["removed"] == 0].groupby("layer")["loss"].nunique().tolist() == [1, 1]

    assert len(table(finished, "training")) == 4
    assert len(table(finished, "networks")) == 1
    assert len(table(finished, "scores")) == trials * 15
    timing = table(finished, "timing")
    stages = {"train_network", "score_layers", "score_layer", "prune_layers", "prune_by_walks", "score"}
    assert set(timing["stage"]) >= stages
    assert (timing["seconds"] >= 0).all()


def test_table_of_networks_pruned_with_little_data(finished):
    low_data = table(finished, "low_data")
    assert list(low_data) == [
        *("net", "seed", "criterion", "aggregate", "ratio", "repair", "trial", "scored_on"),
        *("step", "layer", "units_left", "loss", "accuracy", "parameters", "macs"),
    ]
    assert len(low_data) == PRUNED * 2 * 3  # orders, repairs, steps
    assert set(low_data["scored_on"]) == {"training"}
    last = low_data[low_data["step"] == 2]
    assert set(last["layer"]) == {"fc1"}
    assert set(last["units_left"]) == {5}  # int(9 * 0.5) = 4 leave
    assert set(last["parameters"]) == {HALF}
    assert set(low_data[low_data["step"] == 0]["parameters"]) == {INTACT}
    repaired = last.groupby("repair")["loss"].mean()
    assert repaired["least-squares"] < repaired["none"]


def test_table_of_oracle_sets(finished):
    oracle = table(finished, "oracle")
    assert set(oracle["layer"]) == {"fc2"}  # fc1 has more than 6 units
    assert len(oracle) == (sum(ORDERS.values()) + 4) * 5
    assert (oracle["gap"] >= 0).all()
    by_criterion = oracle.groupby("criterion")[["gap", "loss"]].mean()
    assert by_criterion["gap"]["exact Shapley"] < by_criterion["gap"]["random"]
    assert by_criterion["gap"]["oracle sets"] == 0
    assert by_criterion["loss"].idxmin() == "oracle sets"
    agreement = oracle[oracle["size"] == 5].groupby("criterion")["cumulative_overlap"].mean()
    assert agreement.drop("oracle sets").max() == agreement["oracle rank"]


def test_table_of_estimators(finished):
    errors = table(finished, "estimators")
    assert list(errors) == list(StudyEstimators.columns)
    assert set(zip(errors["layer"], errors["truth"], strict=True)) == {
        ("fc1", "converged Shapley"),
        ("fc2", "exact Shapley"),
    }
    assert len(errors) == 2 * (1 + 2 * 2 + 1)  # layers; the truth, two sizes twice, taylor once
    truth = errors["estimator"] == errors["truth"]
    assert (errors[truth]["spearman"] > 0.999).all()
    assert (errors[truth]["mse_ratio"] == 0).all()
    assert errors[errors["layer"] == "fc1"]["gap"].isna().all()  # it has no table
    assert (errors[errors["layer"] == "fc2"]["gap"] >= 0).all()
    means = errors.groupby(["estimator", "setting"], dropna=False)["mse_ratio"].mean()
    assert means["permutation", "permutations=3"] < means["permutation", "permutations=1"]
    cost = errors.groupby("setting")["evaluations"].unique()
    assert set(cost["permutations=3"]) == {3 * 8 + 2, 3 * 5 + 2}


def test_table_of_networks_that_are_trained_again(finished):
    tuned, low_data = table(finished, "fine_tune"), table(finished, "low_data")
    assert list(tuned) == [*low_data, "images", "epochs"]
    assert tuned["images"].tolist() == ["0", "100", "all"]
    assert set(tuned["criterion"]) == {"taylor"}
    assert (tuned[tuned["images"] == "0"]["epochs"] == 0).all()
    same = ["net", "seed", "criterion", "aggregate", "ratio", "repair", "trial", "step", "layer", "units_left"]
    (both,) = tuned[tuned["images"] == "0"].merge(low_data, on=same, suffixes=("", "_pruned")).to_dict("records")
    assert both["accuracy"] == both["accuracy_pruned"]  # nothing was trained
    by_images = tuned.groupby("images")["loss"].mean()
    assert by_images["all"] < by_images["0"]


def test_table_of_compressed_networks(finished):
    small = table(finished, "compress")
    assert len(small) == 2 * 2  # orders of shapley, sizes
    assert (small["loss"] < small["loss_before"]).all()
    assert (small[small["target"] == "small"]["parameters"] <= 300).all()
    assert set(small[small["target"] == "half"]["parameters"]) == {HALF}
    path = run_folder(finished) / "compressed" / "shapley" / "mean+2std" / "small.safetensors"
    network = shapprune.load(path, small_network)
    facts = read_json(path.with_suffix(".json"))
    assert len(facts["history"]) == 2
    assert 1 <= facts["epochs"] <= 2
    assert facts["intact"]["parameters"] == INTACT
    assert facts["latency"]["compressed"]["median_ms"] > 0
    assert evaluate(network, *tensors(load("digits"), "test"))[1] == facts["accuracy"]
    assert not list(run_folder(finished).glob("unfinished*"))


def test_table_of_networks_that_fit_a_budget(finished):
    fitted, networks = table(finished, "budgets"), table(finished, "networks")
    assert len(fitted) == 2 * 2  # methods, trials
    assert (fitted["macs"] <= 0.5 * fitted["intact_macs"]).all()
    assert set(fitted["intact_accuracy"]) == set(networks["test_accuracy"])
    assert fitted["agreement"].between(fitted["agreement_low"], fitted["agreement_high"]).all()
    assert (fitted[fitted["method"] == "plain"]["distil_steps"] == 0).all()
    path = run_folder(finished) / "budgets" / "reconstruction" / "macs0.5" / "trial1.safetensors"
    network, facts = shapprune.load(path, small_network), read_json(path.with_suffix(".json"))
    assert evaluate(network, *tensors(load("digits"), "test"))[1] == facts["accuracy"]
    training, _ = splits(1437, 200)
    assert len(set(facts["calibration"]) & set(training)) == 20
    assert len(list((run_folder(finished) / "onnx").rglob("*.onnx"))) == 4


def test_table_of_untrained_networks(finished):
    untrained = table(finished, "untrained")
    assert list(untrained) == [
        *("net", "seed", "criterion", "aggregate", "step", "layer", "units_left"),
        *("loss", "accuracy", "parameters", "macs"),
    ]
    assert set(untrained["net"]) == {"fresh"}
    assert untrained["layer"].fillna("").tolist() == ["", "fc2", "fc1"]
    assert untrained["loss"].iloc[-1] < untrained["loss"].iloc[0]
    assert untrained["parameters"].iloc[-1] < untrained["parameters"].iloc[0]


def test_area_is_what_the_curves_say(finished):
    curves, auc = table(finished, "curves"), table(finished, "auc")
    one = {"criterion": "shapley", "aggregate": "mean+2std", "trial": 1}
    mask = np.logical_and.reduce([curves[key] == value for key, value in one.items()])
    rises = curves[mask].groupby("layer")["loss"].apply(lambda loss: (loss - loss.iloc[0]).sum())
    mask = np.logical_and.reduce([auc[key] == value for key, value in one.items()])
    found = auc[mask].set_index("layer")["auc_loss"]
    assert found["fc1"] == pytest.approx(rises["fc1"] / 9)
    assert found["all"] == pytest.approx(rises.sum() / 15)


def test_scores_are_arrays_with_a_manifest(finished):
    folder = run_folder(finished) / "scores" / "shapley" / "fc1"
    assert sorted(path.name for path in folder.glob("trial*")) == [
        f"trial{t}.{kind}" for t in (0, 1) for kind in ("json", "npz")
    ]
    with np.load(folder / "trial0.npz", allow_pickle=False) as arrays:
        assert arrays["values"].shape == (20, 9)
        assert arrays["images"].shape == (20,)
    manifest = read_json(folder / "trial0.json")
    assert manifest["evaluations"] == 2 * 8 + 2
    given = {"permutations": 2, "shared": False, "antithetic": False, "depth": 1.0, "low": 0.0}
    assert manifest["options"] == given | {"settle": [], "settle_by": "mean"}
    assert manifest["settled"] is None
    assert list(manifest["standard_error"]) == ["abs", "mean", "mean+2std"]
    assert manifest["device"]
    random = read_scores(run_folder(finished) / "scores" / "random" / "fc2" / "trial1.npz")
    assert random.values.shape == (1, 6)


def test_scores_are_those_of_the_library(finished):
    """What a job wrote is what a person gets from the library with the same images, model and seed."""
    with np.load(run_folder(finished) / "scores" / "shapley" / "fc2" / "trial1.npz") as arrays:
        values, chosen = arrays["values"], arrays["images"]
    model = shapprune.load(run_folder(finished) / "model.safetensors", small_network)
    images, labels = tensors(load("digits"), "train", chosen)
    game = shapprune.LayerGame(model, "fc2", images, labels, examples=chosen)
    np.testing.assert_allclose(shapprune.shapley.permutation(game, 2, seed=1).values, values, atol=1e-6)


def test_splits_are_disjoint(finished):
    training, validation = splits(1437, 200)
    assert not set(training) & set(validation)
    with np.load(run_folder(finished) / "scores" / "taylor" / "fc1" / "trial0.npz") as arrays:
        assert set(arrays["images"]) <= set(validation)
    chain = run_folder(finished) / "pruned" / "taylor" / "mean" / "ratio0.5" / "none" / "trial0.json"
    scored = read_json(chain)["images"]
    assert len(scored) == len(set(scored)) == 100
    assert set(scored) <= set(training)


def test_pruned_networks_can_be_loaded(finished):
    path = run_folder(finished) / "pruned" / "shapley" / "mean+2std" / "ratio0.5" / "none" / "trial0.safetensors"
    small = shapprune.load(path, small_network)
    assert small(torch.zeros(1, 1, 8, 8)).shape == (1, 10)
    assert {layer: len(units) for layer, units in small.kept_units.items()} == {"fc1": 5, "fc2": 3}


def test_nothing_is_done_twice(finished, tmp_path):
    assert "Nothing to be done" in finished.copy(tmp_path).run()


def test_a_change_runs_only_what_depends_on_it(finished):
    """Params of rules, which Snakemake compares, say what keys say (`tests/unit/workflow/study/test_plan_keys.py`)."""
    sizes = STUDY["compress"]["sizes"] | {"tiny": {"macs": 200}}
    study = changed(STUDY, curves={"images": 90}, compress={"sizes": sizes}) | {"memory_mb": 64}
    planned = set(Workflow(finished.folder, study).planned())
    assert {rule for rule in planned if not rule.startswith(("plot", "collect_", "write_", "all"))} == {
        *("measure_curves", "study_estimators", "compress_network")
    }


def test_configuration_is_written_down(finished):
    used = yaml.safe_load((finished.folder / "results" / "run_config.yaml").read_text())
    assert used["study"] == "ci"
    assert used["criteria"]["shapley"]["shared"] is False


def test_bad_configuration_stops_before_anything_starts(tmp_path):
    study = changed(STUDY, low_data={"ratios": [1.5]}, criteria={"taylr": {}})
    done = Workflow(tmp_path, study)("--cores", "2")
    assert done.returncode != 0
    assert "low_data.ratios[0]: 1.5 is not strictly between 0 and 1" in done.stdout
    assert "did you mean 'taylor'" in done.stdout
    assert "Traceback" not in done.stdout
    assert not (tmp_path / "results").exists()


def test_a_section_that_is_there_twice_stops_it_too_and_the_command_line_takes_numbers(tmp_path):
    command = Workflow(tmp_path).command("--cores", "1", "--config", "scoring={images: 0}")
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False).stderr
    assert "scoring.images: 0 is not at least 1" in said
    (config,) = tmp_path.glob("study*.yaml")
    config.write_text(config.read_text() + "criteria: {}\n")
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False).stderr
    assert "the key 'criteria' is there already, in line" in said
    assert "Traceback" not in said


def test_weights_instead_of_training(finished, tmp_path):
    shutil.copy(run_folder(finished) / "model.safetensors", tmp_path / "trained.safetensors")
    study = copy.deepcopy(STUDY)
    del study["networks"]["small"]["train"]
    study["networks"]["small"] |= {"weights": "trained.safetensors"}
    workflow = Workflow(tmp_path, study)
    workflow.run("train_all")
    trained, loaded = (read_json(run_folder(each) / "model.json") for each in (finished, workflow))
    assert loaded["test_accuracy"] == trained["test_accuracy"]
