"""What a study's runs in MLflow are made of."""

from __future__ import annotations

import math

from shapprune.core.files import read_json, write_json
from shapprune.core.tables import write_table
from shapprune.workflow.share.logged_run import read_rows
from shapprune.workflow.study import config as study
from tests.unit.workflow.share.results import Results


def test_records_are_of_what_a_person_cares_about(tmp_path):
    logged_runs = {run.name: run for run in Results(tmp_path).runs()}
    assert list(logged_runs) == [
        f"fake {study.digest(Results(tmp_path).config)}",
        "small/seed0",
        *(f"{name}/fc1/trial{trial} small/seed0" for name in ("random", "shapley") for trial in (0, 1)),
        "coalitions/fc1 small/seed0",
        "permutation/fc1 small/seed0",
        *("random/mean small/seed0", "shapley/mean small/seed0", "shapley/mean+2std small/seed0"),
        *("random/mean/half small/seed0", "lean/macs0.5/trial0 small/seed0"),
        *("lean/macs0.5/trial0/retrained small/seed0", "ours/bits4/beta0.5/trial0 small/seed0"),
        "shapley fresh/seed0",
        *("random/mean/tuned small/seed0", "all/mean/probed small/seed0"),
    ]
    metrics = logged_runs["shapley/mean+2std small/seed0"].metrics
    assert ("auc_loss", 1.5, 0) in metrics  # of all layers, the mean over the trials
    assert ("auc_loss/fc1", 1.5, 0) in metrics
    assert [value for name, value, _ in metrics if name == "removal_loss/fc1"] == [0.5, 1.5, 2.5]
    assert ("low_data_loss/ratio0.5", 1.5, 1) in metrics
    assert logged_runs["shapley/mean+2std small/seed0"].params["low_data.scored_on"] == "training"
    assert ("fine_tune_loss/ratio0.5/images_50", 1.5, 0) in logged_runs["random/mean small/seed0"].metrics
    estimator = logged_runs["permutation/fc1 small/seed0"]
    assert [(value, at) for name, value, at in estimator.metrics if name == "estimator_spearman"] == [
        (0.5, 4),
        (0.5, 10),
    ]
    assert estimator.params["over"] == {"permutations": [2, 5]}
    compressed = logged_runs["random/mean/half small/seed0"]
    assert ("accuracy", 0.5, 0) in compressed.metrics
    assert ("epoch/train_loss", 0.5, 2) in compressed.metrics
    assert (compressed.key, compressed.seconds, compressed.params["to"]) == ("key of half", 3.0, {"ratio": 0.5})
    fitted = logged_runs["lean/macs0.5/trial0 small/seed0"]
    assert {name for name, *_ in fitted.metrics} == {"macs", "agreement", "accuracy", "seconds", "peak_memory_mb"}
    assert (fitted.params["criterion"], fitted.params["budget"], fitted.seconds) == ("reconstruction", 0.5, 4.0)
    retrained = logged_runs["lean/macs0.5/trial0/retrained small/seed0"]
    assert {("accuracy_before", 0.5, 0), ("accuracy", 0.75, 0), ("epoch/lr", 0.5, 1)} < set(retrained.metrics)
    assert (retrained.params["teacher"], retrained.params["budget"], retrained.seconds) == (1.0, 0.5, 3.0)
    quantised = logged_runs["ours/bits4/beta0.5/trial0 small/seed0"]
    assert {("bytes", 300, 0), ("proxy_loss", 0.25, 0), ("accuracy", 0.5, 0)} < set(quantised.metrics)
    assert (quantised.params["method"], quantised.params["name"], quantised.seconds) == ("shapley", "ours", 2.0)
    zeroed = logged_runs["random/mean small/seed0"].metrics
    assert ("deactivated_test_agreement/share0.5", 0.75, 0) in zeroed
    assert ("untrained_loss", 2.0, 1) in logged_runs["shapley fresh/seed0"].metrics
    assert logged_runs["shapley fresh/seed0"].params["method"] == "permutation"
    tuned = logged_runs["random/mean/tuned small/seed0"]  # two trials, each at the rate of the lower validation loss
    assert {("tuned_lr", 0.25, 0), ("tuned_loss", 1.25, 0), ("tuned_epochs", 1.0, 0)} < set(tuned.metrics)
    assert (tuned.params["data"], tuned.params["trials"]) == ("mnist", 2)
    probed = logged_runs["all/mean/probed small/seed0"]
    assert {("probed_units", 4.0, 0), ("probed_units/fc1", 2.0, 0), ("probed_accuracy", 0.5, 0)} < set(probed.metrics)
    assert ("oracle_gap/fc1", 0.5, 2) in metrics
    assert ("evaluations", 10.5, 0) in metrics
    assert ("standard_error/mean", 2.0, 0) in logged_runs["random/fc1/trial1 small/seed0"].metrics
    assert logged_runs["small/seed0"].seconds == 6.0
    store = logged_runs["random/fc1/trial1 small/seed0"].tags["shapprune.store"]
    assert store == "data/store/ke/key of random1"


def test_what_is_missing_is_not_logged(tmp_path):
    results = Results(tmp_path)
    usual = {run.name: run for run in results.runs()}
    for path in (results.run / "scores").rglob("*.json"):
        write_json(path, read_json(path) | {"standard_error": {"mean": [None, None], "mean+2std": [None, None]}})
    for path in (results.table("curves"), results.table("training"), results.fresh.with_suffix(".csv")):
        rows = list(read_rows(path))
        loss = "train_loss" if "train_loss" in rows[0] else "loss"
        write_table(path, list(rows[0]), [row | {loss: ""} for row in rows])
    gone = {}
    for run in results.runs():
        assert all(math.isfinite(value) for _, value, _ in run.metrics)
        if lost := {name for name, *_ in usual[run.name].metrics} - {name for name, *_ in run.metrics}:
            gone[run.name] = lost
    assert gone.pop("small/seed0") == {"epoch/train_loss"}
    assert gone.pop("shapley fresh/seed0") == {"untrained_loss"}
    for criterion in ("random/mean", "shapley/mean", "shapley/mean+2std"):
        assert gone.pop(f"{criterion} small/seed0") == {"removal_loss/fc1"}
    assert list(gone.values()) == 4 * [{"standard_error/mean", "standard_error/mean+2std"}]


def test_a_study_lasts_as_long_as_a_job_was_at_work(tmp_path):
    parent, *_ = Results(tmp_path).runs()
    assert (parent.finished, parent.seconds) == (201, 9 + 1)  # jobs at the same time count once, the pause does not
    assert {("best/small", 0.5, 0), ("seconds", 10.0, 0)} < set(parent.metrics)
