"""The headline of a study and the numbers that DVC compares."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from shapprune.core.files import write_json
from shapprune.workflow.share import headlines

LABELS = {("taylor", "mean"): "taylor", ("shapley", "mean+2std"): "shapley (mean+2std)"}
NETWORKS = pd.DataFrame(
    [("a", 0, 0.8, 100, 1000), ("a", 1, 0.9, 100, 1000)], columns=["net", "seed", "test_accuracy", "parameters", "macs"]
)
AUC = pd.DataFrame(
    [
        ("a", 0, "taylor", "mean", 0, "all", 0.4, 0.2),
        ("a", 1, "taylor", "mean", 0, "all", 0.2, 0.1),
        ("a", 0, "taylor", "mean", 0, "fc1", 0.0, 0.0),
        ("a", 0, "shapley", "mean+2std", 0, "all", 0.1, 0.05),
    ],
    columns=["net", "seed", "criterion", "aggregate", "trial", "layer", "auc_loss", "auc_accuracy"],
)
LOW_DATA = pd.DataFrame(
    [
        ("a", "taylor", "mean", ratio, repair, trial, step, 1.0, accuracy - 0.1 * step + 0.02 * trial + better)
        for repair, better in (("none", 0.0), ("batchnorm", 0.05))
        for ratio, accuracy in ((0.25, 0.9), (0.5, 0.7))
        for trial in (0, 1)
        for step in (0, 1, 2)
    ],
    columns=["net", "criterion", "aggregate", "ratio", "repair", "trial", "step", "loss", "accuracy"],
).assign(parameters=lambda rows: 100 - 30 * rows["step"], macs=500)
TIMING = pd.DataFrame(
    [
        ("score", "a", "shapley", 2.0),
        ("score", "a", "shapley", 1.0),
        ("score", "a", "taylor", 9.0),
        ("train", "a", "", 5),
    ],
    columns=["stage", "net", "criterion", "seconds"],
)
UNTRAINED = pd.DataFrame(
    [
        ("b", criterion, "mean", step, 0.1 + step * accuracy, 60 - 10 * step, 600)
        for criterion, accuracy in (("taylor", 0.1), ("random", 0.05))
        for step in (0, 1)
    ],
    columns=["net", "criterion", "aggregate", "step", "accuracy", "parameters", "macs"],
)
PRUNED = pd.DataFrame(
    [("a", "taylor", "mean", 0.5, "batchnorm", 3.0), ("a", "taylor", "mean", 0.5, "none", 9.0)],
    columns=["net", "criterion", "aggregate", "ratio", "repair", "seconds"],
)
BUDGETS = pd.DataFrame(
    [
        ("a", method, "macs", budget, 100, trial, 0.1 + budget + better + 0.02 * trial, 50, 1000 * budget)
        for method, better in (("lean", 0.1), ("plain", 0.0))
        for budget in (0.5, 0.25)
        for trial in (0, 1)
    ],
    columns=["net", "method", "measure", "budget", "images", "trial", "accuracy", "parameters", "macs"],
)
TABLES = {"networks": NETWORKS, "auc": AUC, "low_data": LOW_DATA, "untrained": UNTRAINED, "timing": TIMING} | {
    "fine_tune": pd.DataFrame(),
    "compress": pd.DataFrame(),
    "budgets": pd.DataFrame(),
    **dict.fromkeys(("retrained", "deactivated", "quantised"), pd.DataFrame()),
    "pruned": PRUNED,
}


def test_the_headline_has_the_best_of_every_question():
    areas, quarter, half, untrained = headlines.headline(TABLES).to_dict("records")
    best = [
        (row["net"], row["protocol"], row["setting"], row["criterion"]) for row in (areas, quarter, half, untrained)
    ]
    assert best == [
        ("a", "auc", "", "shapley"),
        ("a", "low_data", "ratio=0.25", "taylor"),
        ("a", "low_data", "ratio=0.5", "taylor"),
        ("b", "untrained", "", "taylor"),
    ]
    assert (areas["value"], areas["runs"], areas["seconds"]) == (0.1, 1, 3.0)  # two layers, one trial
    assert math.isnan(areas["deviation"])
    assert (areas["next_criterion"], areas["next_value"]) == ("taylor", pytest.approx(0.3))
    assert (half["repair"], half["value"], half["seconds"]) == ("batchnorm", pytest.approx(0.56), 3.0)
    assert half["deviation"] == pytest.approx(0.02 / math.sqrt(2))
    assert (half["parameters"], half["intact_parameters"], half["intact_accuracy"]) == (40, 100, pytest.approx(0.85))
    assert pd.isna(half["next_criterion"])  # another repair of the same criterion is no rival
    assert (untrained["value"], untrained["intact_accuracy"]) == (pytest.approx(0.2), pytest.approx(0.1))


def test_with_most_images_networks_are_compared_after_fine_tuning():
    table = pd.DataFrame(
        [
            ("a", "taylor", "mean", 0.5, images, accuracy)
            for images, accuracy in (("all", 0.5), ("5000", 0.9), ("0", 0.1))
        ],
        columns=["net", "criterion", "aggregate", "ratio", "images", "accuracy"],
    )
    found = headlines.headline(TABLES | {"fine_tune": table})
    (row,) = found[found["protocol"] == "fine_tune"].to_dict("records")
    assert (row["setting"], row["value"]) == ("ratio=0.5 images=all", 0.5)


def test_of_a_budget_the_best_method_is_told():
    found = headlines.headline(TABLES | {"budgets": BUDGETS})
    half, _ = found[found["protocol"] == "budgets"].to_dict("records")
    assert (half["setting"], half["criterion"], half["aggregate"]) == ("measure=macs budget=0.5 images=100", "lean", "")
    assert (half["value"], half["next_criterion"]) == (pytest.approx(0.71), "plain")
    assert (half["macs"], half["runs"]) == (500, 2)
    assert ("best/a/budgets/measure_macs/budget_0.5/images_100/accuracy", half["value"]) in headlines.points(found)


def test_networks_that_were_trained_on_are_a_question_of_their_own():
    found = headlines.headline(TABLES | {"retrained": BUDGETS})
    half, _ = found[found["protocol"] == "retrained"].to_dict("records")
    assert (half["setting"], half["criterion"]) == ("measure=macs budget=0.5 images=100", "lean")


def test_of_deactivated_and_quantised_networks_the_hardest_question_is_told():
    zeroed = pd.DataFrame(
        [("a", "random", "mean", 0.3, 0.2), ("a", "taylor", "mean", 0.3, 0.6), ("a", "taylor", "mean", 0.1, 0.7)],
        columns=["net", "criterion", "aggregate", "share", "accuracy"],
    )
    small = pd.DataFrame(
        [
            ("a", "round", 4, math.nan, 0.5),
            ("a", "ours", 4, 0.1, 0.7),
            ("a", "ours", 4, 0.9, 0.6),
            ("a", "round", 8, math.nan, 0.9),
        ],
        columns=["net", "method", "bits", "beta", "accuracy"],
    )
    found = headlines.headline(TABLES | {"deactivated": zeroed, "quantised": small}).to_dict("records")
    rows = {row["protocol"]: row for row in found}
    assert (rows["deactivated"]["setting"], rows["deactivated"]["criterion"]) == ("share=0.3", "taylor")
    best = rows["quantised"]
    assert (best["setting"], best["criterion"], best["aggregate"]) == ("bits=4", "ours, beta 0.1", "")
    assert (best["value"], best["next_criterion"]) == (0.7, "ours, beta 0.9")


def test_points_survive_the_file(tmp_path):
    headline = headlines.headline(TABLES)
    headline.to_csv(tmp_path / "headline.csv", index=False)
    points = headlines.points(headline)
    assert points == headlines.points(headlines.read(tmp_path / "headline.csv"))
    assert [name for name, _ in points] == [
        "best/a/auc/auc_loss",
        "best/a/low_data/ratio_0.25/accuracy",
        "best/a/low_data/ratio_0.5/accuracy",
        "best/b/untrained/accuracy",
    ]


def test_time_to_score_a_chain_is_the_sum_of_its_steps(tmp_path):
    names = {"net": "a", "criterion": "taylor", "aggregate": "mean", "ratio": 0.5, "repair": "none"}
    write_json(tmp_path / "mean" / "trial0.json", {**names, "steps": [{"seconds": 1.0}, {"seconds": 2.5}]})
    assert headlines.pruned([str(tmp_path)]).to_dict("records") == [{**names, "seconds": 3.5}]


def test_metrics_are_means_over_seeds_and_trials():
    areas, steps = headlines.areas(AUC, LABELS), headlines.low_data(LOW_DATA, LABELS)
    assert steps["step"].tolist() == [0, 1, 2]
    assert headlines.metrics(headlines.headline(TABLES), NETWORKS, areas, steps) == {
        "a": {
            "test_accuracy": 0.85,
            "best": {"auc/auc_loss": 0.1, "low_data/ratio_0.25/accuracy": 0.76, "low_data/ratio_0.5/accuracy": 0.56},
            "auc_loss": {"taylor": 0.3, "shapley (mean+2std)": 0.1},
            "low_data_accuracy": {"taylor": 0.51},
        }
    }
