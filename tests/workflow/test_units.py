"""Networks whose units are zeroed, trained on or probed, and whose weights are quantised, run as a user runs it."""

from __future__ import annotations

import pandas as pd

import shapprune
from shapprune.core.files import read_json
from shapprune.data.prepared import tensors
from shapprune.data.sets import load
from shapprune.networks.evaluation import evaluate
from tests.workflow.test_study import INTACT, ORDERS, run_folder, small_network, table


def test_tables_of_units_that_were_trained_on_and_probed(finished):
    tuned, probed = table(finished, "tuned"), table(finished, "probed")
    assert len(tuned) == 2 * 2  # methods, trials; of two learning rates the better one counts
    assert set(tuned["trainable"]) == {3 * (64 + 1) + 2 * (9 + 1)}  # of 9 and of 6 units, each with its bias
    assert set(tuned["parameters"]) == {INTACT}
    assert set(tuned["loss_before"]) == set(table(finished, "networks")["test_loss"])
    jobs = pd.concat(pd.read_csv(path) for path in (run_folder(finished) / "tuned").glob("*.csv"))
    assert len(jobs) == 2 * len(tuned)
    lowest = jobs.groupby(["method", "trial"])["validation_loss"].min()
    assert tuned.set_index(["method", "trial"])["validation_loss"].to_dict() == lowest.to_dict()
    tests = table(finished, "tuned_tests")
    assert tests[["method", "other", "runs"]].drop_duplicates().to_numpy().tolist() == [["taylor", "random", 2]]
    assert probed.groupby("layer")["units"].unique().map(list).to_dict() == {"all": [5], "fc1": [3], "fc2": [2]}
    assert probed["accuracy"].between(0.1, 1).all()


def test_table_of_deactivated_units(finished):
    zeroed, networks, auc = table(finished, "deactivated"), table(finished, "networks"), table(finished, "auc")
    assert len(zeroed) == 2 * sum(ORDERS.values())  # shares
    assert zeroed.groupby("share")[["deactivated", "units"]].agg(set).to_numpy().tolist() == [[{2}, {15}], [{7}, {15}]]
    assert set(zeroed["intact_accuracy"]) == set(networks["test_accuracy"])
    assert zeroed.groupby("share")["loss"].mean().is_monotonic_increasing
    assert set(zeroed["criterion"]) == set(auc["criterion"])


def test_table_of_quantised_networks(finished):
    small, networks = table(finished, "quantised"), table(finished, "networks")
    assert small.groupby("method").size().to_dict() == {"gptq": 2, "in-turn": 2, "round": 1, "shapley": 4}
    assert set(small["intact_accuracy"]) == set(networks["test_accuracy"])
    weights, rows = 64 * 9 + 9 * 6 + 6 * 10, 9 + 6 + 10
    assert set(small["bytes"]) == {weights // 2 + 2 * 4 * rows}
    proxies = small.groupby("method")["proxy_loss"].mean()
    assert proxies["gptq"] < proxies["round"]
    path = run_folder(finished) / "quantised" / "shapley" / "bits4" / "beta0.9" / "trial1.safetensors"
    again, facts = shapprune.load_quantised(path, small_network), read_json(path.with_suffix(".json"))
    assert evaluate(again.model, *tensors(load("digits"), "test"))[1] == facts["accuracy"]
    assert again.bytes == facts["bytes"]
