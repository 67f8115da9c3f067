"""What is done with the units of the highest scores, run as a user runs it."""

from __future__ import annotations

import pandas as pd

from tests.workflow.test_study import INTACT, run_folder, table


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
