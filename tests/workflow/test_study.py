"""The workflow, run as a user runs it."""

from __future__ import annotations

import copy
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

import shapprune
from shapprune.networks.builders import build
from shapprune.shapley.score_files import read_scores
from shapprune.workflow.stages.columns import ESTIMATORS
from tests.workflow.conftest import REPOSITORY, STUDY, Workflow

pytestmark = pytest.mark.xdist_group("workflow")  # the finished study is shared by the tests of one worker

LAYERS = {"fc1": 9, "fc2": 6}
ORDERS = {("random", "mean"): 2, ("taylor", "mean"): 1, ("shapley", "mean"): 2, ("shapley", "mean+2std"): 2}


def table(workflow, name):
    return pd.read_csv(workflow.folder / "results" / "tables" / f"{name}.csv")


def run_folder(workflow, seed=0):
    return workflow.folder / "results" / "small" / f"seed{seed}"


def test_tables_hold_one_observation_a_row(finished):
    seeds, trials = 2, sum(ORDERS.values())
    auc = table(finished, "auc")
    assert list(auc) == [
        *("net", "seed", "criterion", "aggregate", "trial", "layer", "units", "auc_loss", "auc_accuracy")
    ]
    assert len(auc) == seeds * trials * 3  # two layers and all
    assert set(auc["layer"]) == {"fc1", "fc2", "all"}
    assert set(auc[auc["layer"] == "all"]["units"]) == {15}
    counts = auc[auc["layer"] == "all"].groupby(["criterion", "aggregate"]).size()
    assert counts.to_dict() == {order: seeds * count for order, count in ORDERS.items()}

    curves = table(finished, "curves")
    assert len(curves) == seeds * trials * (10 + 7)
    intact = curves[curves["removed"] == 0]
    assert intact.groupby(["seed", "layer"])["loss"].nunique().max() == 1

    low_data = table(finished, "low_data")
    assert list(low_data) == [
        *("net", "seed", "criterion", "aggregate", "ratio", "repair", "trial"),
        *("step", "layer", "units_left", "loss", "accuracy", "parameters", "macs"),
    ]
    assert len(low_data) == seeds * 4 * 2 * 2 * 3  # seeds, orders, repairs, trials, steps
    last = low_data[low_data["step"] == 2]
    assert set(last["layer"]) == {"fc1"}
    assert set(last["units_left"]) == {5}  # int(9 * 0.5) = 4 leave
    assert set(last["parameters"]) == {(64 + 1) * 5 + (5 + 1) * 3 + (3 + 1) * 10}

    intact = low_data[low_data["step"] == 0].groupby("seed")["parameters"].unique()
    assert (intact == (64 + 1) * 9 + (9 + 1) * 6 + (6 + 1) * 10).all()
    repaired = last.groupby("repair")["loss"].mean()
    assert repaired["least-squares"] < repaired["none"]

    oracle = table(finished, "oracle")
    assert set(oracle["layer"]) == {"fc2"}  # fc1 has more than 6 units
    assert len(oracle) == seeds * (trials + 4) * 5
    assert (oracle["gap"] >= 0).all()
    by_criterion = oracle.groupby("criterion")[["gap", "loss"]].mean()
    assert by_criterion["gap"]["exact Shapley"] < by_criterion["gap"]["random"]
    assert by_criterion["gap"]["oracle sets"] == 0
    assert by_criterion["loss"].idxmin() == "oracle sets"
    agreement = oracle[oracle["size"] == 5].groupby("criterion")["cumulative_overlap"].mean()
    assert agreement.drop("oracle sets").max() == agreement["oracle rank"]

    errors = table(finished, "estimators")
    assert list(errors) == list(ESTIMATORS)
    assert set(zip(errors["layer"], errors["truth"], strict=True)) == {
        ("fc1", "converged Shapley"),
        ("fc2", "exact Shapley"),
    }
    assert len(errors) == seeds * 2 * (1 + 2 * 2 + 1)  # layers; the truth, two sizes twice, taylor once
    truth = errors["estimator"] == errors["truth"]
    assert (errors[truth]["spearman"] > 0.999).all()
    assert (errors[truth]["mse_ratio"] == 0).all()
    assert errors[errors["layer"] == "fc1"]["gap"].isna().all()  # it has no table
    assert (errors[errors["layer"] == "fc2"]["gap"] >= 0).all()
    means = errors.groupby(["estimator", "setting"], dropna=False)["mse_ratio"].mean()
    assert means["permutation", "permutations=3"] < means["permutation", "permutations=1"]
    cost = errors.groupby("setting")["evaluations"].unique()
    assert set(cost["permutations=3"]) == {3 * 8 + 2, 3 * 5 + 2}

    assert len(table(finished, "training")) == seeds * 4
    assert len(table(finished, "networks")) == seeds
    timing = table(finished, "timing")
    assert set(timing["stage"]) >= {"train_network", "score_layers", "score_layer", "prune_layers", "score"}
    assert (timing["seconds"] >= 0).all()
    scores = table(finished, "scores")
    assert len(scores) == seeds * trials * 15


def test_tables_of_networks_that_are_trained_again(finished):
    tuned, low_data = table(finished, "fine_tune"), table(finished, "low_data")
    assert list(tuned) == [*low_data, "images", "epochs"]
    assert len(tuned) == 2 * 3  # seeds, numbers of images
    assert set(tuned["images"]) == {"0", "100", "all"}
    assert set(tuned["criterion"]) == {"taylor"}
    assert (tuned[tuned["images"] == "0"]["epochs"] == 0).all()
    same = ["net", "seed", "criterion", "aggregate", "ratio", "repair", "trial", "step", "layer", "units_left"]
    both = tuned[tuned["images"] == "0"].merge(low_data, on=same, suffixes=("", "_pruned"))
    assert len(both) == 2
    assert both["accuracy"].tolist() == both["accuracy_pruned"].tolist()  # nothing was trained
    by_images = tuned.groupby("images")["loss"].mean()
    assert by_images["all"] < by_images["0"]

    small, networks = table(finished, "compress"), table(finished, "networks")
    assert len(small) == 2 * 3 * 2  # seeds, orders, sizes
    assert (small["loss"] < small["loss_before"]).all()
    assert (small[small["target"] == "small"]["parameters"] <= 300).all()
    assert set(small[small["target"] == "half"]["parameters"]) == {(64 + 1) * 5 + (5 + 1) * 3 + (3 + 1) * 10}
    assert small["parameters"].max() < networks["parameters"].min()
    path = run_folder(finished) / "compressed" / "shapley" / "mean+2std" / "small.safetensors"
    network = shapprune.load(path, lambda: build("mlp", shape=(1, 8, 8), classes=10, widths=[9, 6]))
    facts = yaml.safe_load(path.with_suffix(".json").read_text())
    assert len(facts["history"]) == 3
    assert 1 <= facts["epochs"] <= 3
    assert facts["intact"]["parameters"] == networks["parameters"].max()
    assert facts["latency"]["compressed"]["median_ms"] > 0
    from shapprune.data.prepared import tensors
    from shapprune.data.sets import load
    from shapprune.networks.training import evaluate

    assert evaluate(network, *tensors(load("digits"), "test"))[1] == facts["accuracy"]
    assert not list(run_folder(finished).glob("unfinished*"))


def test_table_of_untrained_networks(finished):
    untrained = table(finished, "untrained")
    assert list(untrained) == [
        *("net", "seed", "criterion", "aggregate", "step", "layer", "units_left"),
        *("loss", "accuracy", "parameters", "macs"),
    ]
    assert len(untrained) == 2 * 3  # seeds, steps
    assert set(untrained["net"]) == {"fresh"}
    assert untrained["layer"].fillna("").tolist() == ["", "fc2", "fc1"] * 2
    loss = untrained.groupby("step")["loss"].mean()
    assert loss[2] < loss[0]
    assert untrained[untrained["step"] == 2]["parameters"].max() < untrained["parameters"].max()


def test_area_is_what_the_curves_say(finished):
    curves, auc = table(finished, "curves"), table(finished, "auc")
    one = {"seed": 3, "criterion": "shapley", "aggregate": "mean+2std", "trial": 1}
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
    manifest = yaml.safe_load((folder / "trial0.json").read_text())
    assert manifest["evaluations"] == 2 * 8 + 2
    given = {"permutations": 2, "shared": False, "antithetic": False, "depth": 1.0, "settle": [], "settle_by": "mean"}
    assert manifest["options"] == given
    assert manifest["settled"] is None
    assert list(manifest["standard_error"]) == ["abs", "mean", "mean+2std"]
    assert manifest["device"]
    random = read_scores(run_folder(finished) / "scores" / "random" / "fc2" / "trial1.npz")
    assert random.values.shape == (1, 6)


def test_scores_are_those_of_the_library(finished):
    """What a job wrote is what a person gets from the library with the same images, model and seed."""
    from shapprune.data.prepared import tensors
    from shapprune.data.sets import load

    with np.load(run_folder(finished) / "scores" / "shapley" / "fc2" / "trial1.npz") as arrays:
        values, chosen = arrays["values"], arrays["images"]
    make = lambda: build("mlp", shape=(1, 8, 8), classes=10, widths=[9, 6])  # noqa: E731
    model = shapprune.load(run_folder(finished) / "model.safetensors", make)
    images, labels = tensors(load("digits"), "train", chosen)
    game = shapprune.LayerGame(model, "fc2", images, labels, examples=chosen)
    np.testing.assert_allclose(shapprune.shapley.permutation(game, 2, seed=1).values, values, atol=1e-6)


def test_splits_are_disjoint(finished):
    from shapprune.data.prepared import splits

    training, validation = splits(1437, 200)
    assert not set(training) & set(validation)
    with np.load(run_folder(finished) / "scores" / "taylor" / "fc1" / "trial0.npz") as arrays:
        assert set(arrays["images"]) <= set(validation)
    chain = run_folder(finished) / "pruned" / "taylor" / "mean" / "ratio0.5" / "none" / "trial0.json"
    assert len(yaml.safe_load(chain.read_text())["images"]) == 20


def test_pruned_networks_can_be_loaded(finished):
    path = run_folder(finished) / "pruned" / "shapley" / "mean+2std" / "ratio0.5" / "none" / "trial0.safetensors"
    small = shapprune.load(path, lambda: build("mlp", shape=(1, 8, 8), classes=10, widths=[9, 6]))
    assert small(torch.zeros(1, 1, 8, 8)).shape == (1, 10)
    assert {layer: len(units) for layer, units in small.kept_units.items()} == {"fc1": 5, "fc2": 3}


def test_nothing_is_done_twice(finished):
    assert "Nothing to be done" in finished.run()


@pytest.mark.parametrize(
    ("change", "rules"),
    [
        (
            lambda study: study["low_data"].update(ratios=[0.5, 0.25]),
            {"prune_layers", "evaluate_pruned", "fine_tune_pruned"},
        ),
        (lambda study: study["compress"]["sizes"].update(tiny={"macs": 200}), {"compress_network"}),
        (lambda study: study["fine_tune"]["train"].update(lr=0.2), {"fine_tune_pruned"}),
        (lambda study: study["untrained"].update(images=90), {"prune_untrained"}),
        (lambda study: study["oracle"].update(images=60), {"tabulate_coalitions", "search_oracle", "study_estimators"}),
        (lambda study: study["curves"].update(images=90), {"measure_curves", "study_estimators"}),
        (lambda study: study["estimators"].update(repetitions=3), {"study_estimators"}),
        (lambda study: study.update(memory_mb=64), set()),
    ],
)
def test_a_change_runs_only_what_depends_on_it(finished, change, rules):
    changed = Workflow(finished.folder, copy.deepcopy(STUDY))
    change(changed.study)
    planned = set(changed.planned())
    assert {rule for rule in planned if not rule.startswith(("plot_", "collect_", "write_", "all"))} == rules


def test_configuration_is_written_down(finished):
    used = yaml.safe_load((finished.folder / "results" / "run_config.yaml").read_text())
    assert used["study"] == "tiny"
    assert used["criteria"]["shapley"]["shared"] is False


def test_bad_configuration_stops_before_anything_starts(tmp_path):
    study = copy.deepcopy(STUDY)
    study["low_data"]["ratios"] = [1.5]
    study["criteria"]["taylr"] = {}
    done = Workflow(tmp_path, study)("--cores", "2")
    assert done.returncode != 0
    assert "low_data.ratios[0]: 1.5 is not strictly between 0 and 1" in done.stdout
    assert "did you mean 'taylor'" in done.stdout
    assert "Traceback" not in done.stdout
    assert not (tmp_path / "results").exists()


OWN = """
import numpy as np
from torch import nn

def load():
    random = np.random.default_rng(0)
    labels = np.arange(300) % 3
    images = (random.random((300, 6, 6)) * 60 + 60 * labels[:, None, None]).astype(np.uint8)
    return images[:200], labels[:200], images[200:], labels[200:]

def broken():
    return load()[:3]

def build(width=5):
    return nn.Sequential(nn.Flatten(), nn.Linear(36, width), nn.ReLU(), nn.Linear(width, 3))
"""


def own_study(function):
    study = copy.deepcopy(STUDY)
    study["datasets"] = {"shades": f"my_code:{function}"}
    study["networks"] = {
        "own": {
            "architecture": "my_code:build",
            "options": {"width": 4},
            "data": "shades",
            "layers": {"1": 4},
            "train": {"epochs": 2, "lr": 0.1},
        }
    }
    study["splits"]["validation"] = 60
    study["low_data"]["test_images"] = "all"
    study["curves"]["images"] = 50
    return study


def test_own_network_and_own_data(tmp_path):
    (tmp_path / "my_code.py").write_text(OWN)
    workflow = Workflow(tmp_path, own_study("load"))
    workflow.run()
    assert set(table(workflow, "auc")["layer"]) == {"1", "all"}


def test_a_failing_job_says_why_in_a_sentence(tmp_path):
    (tmp_path / "my_code.py").write_text(OWN)
    done = Workflow(tmp_path, own_study("broken"))("--cores", "1")
    assert done.returncode != 0
    assert "error: data set 'shades' (my_code:broken) must return four arrays" in done.stdout
    assert "Traceback" not in done.stdout


def test_weights_instead_of_training(finished, tmp_path):
    shutil.copy(run_folder(finished) / "model.safetensors", tmp_path / "trained.safetensors")
    study = copy.deepcopy(STUDY)
    del study["networks"]["small"]["train"]
    study["networks"]["small"] |= {"weights": "trained.safetensors", "seeds": [0]}
    workflow = Workflow(tmp_path, study)
    workflow.run("train_all")
    trained, loaded = (yaml.safe_load((run_folder(each) / "model.json").read_text()) for each in (finished, workflow))
    assert loaded["test_accuracy"] == trained["test_accuracy"]


def test_large_networks_are_planned(tmp_path):
    study = yaml.safe_load((REPOSITORY / "config.yaml").read_text())
    recipe = study["networks"]["lenet5"]["train"]
    study["networks"] = {
        name: {"architecture": name, "data": "cifar10", "seeds": [0, 1], "train": recipe}
        for name in ("vgg16", "resnet20", "resnet56")
    }
    planned = Workflow(tmp_path, study).planned()
    assert planned["train_network"] == 6
    assert planned["score_layer"] == 2 * (15 + 9 + 27)
