"""The headline numbers of a study."""

from __future__ import annotations

import pandas as pd

from shapprune.workflow.share import headlines

LABELS = {("taylor", "mean"): "taylor", ("shapley", "mean+2std"): "shapley (mean+2std)"}


def test_headlines_are_means_over_seeds_and_trials():
    networks = pd.DataFrame({"net": ["a", "a"], "seed": [0, 1], "test_accuracy": [0.8, 0.9]})
    auc = pd.DataFrame(
        [
            ("a", 0, "taylor", "mean", 0, "all", 0.4, 0.2),
            ("a", 1, "taylor", "mean", 0, "all", 0.2, 0.1),
            ("a", 0, "taylor", "mean", 0, "fc1", 9.0, 9.0),
            ("a", 0, "shapley", "mean+2std", 0, "all", 0.1, 0.05),
        ],
        columns=["net", "seed", "criterion", "aggregate", "trial", "layer", "auc_loss", "auc_accuracy"],
    )
    low_data = pd.DataFrame(
        [
            ("a", "taylor", "mean", ratio, repair, trial, step, 1.0, accuracy - 0.1 * step + 0.02 * trial + better)
            for repair, better in (("none", 0.0), ("batchnorm", 0.05))
            for ratio, accuracy in ((0.25, 0.9), (0.5, 0.7))
            for trial in (0, 1)
            for step in (0, 1, 2)
        ],
        columns=["net", "criterion", "aggregate", "ratio", "repair", "trial", "step", "loss", "accuracy"],
    )
    areas, steps = headlines.areas(auc, LABELS), headlines.low_data(low_data, LABELS)
    assert steps["step"].tolist() == [0, 1, 2]
    assert headlines.metrics(networks, areas, steps) == {
        "a": {
            "test_accuracy": 0.85,
            "best_auc_loss": 0.1,
            "auc_loss": {"taylor": 0.3, "shapley (mean+2std)": 0.1},
            "low_data_accuracy": {"taylor": 0.51},
        }
    }
