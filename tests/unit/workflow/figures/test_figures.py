"""Figures: drawn for one layer and many, few runs and many, the same each time, and looked like themselves."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from itertools import product

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from shapprune import ShapPruneError
from shapprune.criteria.catalog import CATALOG
from shapprune.workflow import figures

CRITERIA = {
    "random": {"method": "random", "aggregates": ["mean"]},
    "taylor": {"method": "taylor", "aggregates": ["mean"]},
    "shapley": {"method": "permutation", "aggregates": ["mean", "mean+2std"]},
}
MANY = {name: {"method": name, "aggregates": ["mean", "mean+2std"]} for name in CATALOG}
ESTIMATORS = {f"shapley{number}": {"method": "permutation", "aggregates": ["mean", "mean+2std"]} for number in range(9)}
REPAIRS = ["none", "batchnorm", "least-squares"]
SIZES = {"half": 50_000, "a-name-that-is-long": 10_000, "near": 10_100, "1": 2_000, "tiny": 900}
NETWORKS = pd.DataFrame({"net": "net", "seed": [0, 1], "parameters": 100_000, "test_accuracy": [0.8, 0.9]})
STUDIES = {
    "one layer, one run": (CRITERIA, 1, 1, 1),
    "16 layers, two seeds, three trials": (CRITERIA, 16, 2, 3),
    "many criteria": (MANY, 2, 2, 1),
}


def tables(criteria, layers, seeds, trials):
    """The tables of a study that never ran."""
    random = np.random.default_rng(0)
    orders = [(name, how) for name, entry in criteria.items() for how in entry["aggregates"]]
    units = {f"layer{i}.conv": 3 + 40 * (i % 3) for i in range(layers)}
    runs = [
        {"net": "net", "seed": seed, "criterion": name, "aggregate": how, "trial": trial}
        for seed, (name, how), trial in product(range(seeds), orders, range(trials))
    ]
    curves = [
        {
            **run,
            "layer": layer,
            "units": n,
            "removed": j,
            "loss": 0.3 + j / n + random.random() / 9,
            "accuracy": 0.9 - j / n / 2,
        }
        for run in runs
        for layer, n in units.items()
        for j in range(n + 1)
    ]
    auc = [
        {**run, "layer": layer, "units": n, "auc_loss": random.random(), "auc_accuracy": random.random()}
        for run in runs
        for layer, n in [*units.items(), ("all", sum(units.values()))]
    ]
    scores = [
        {**run, "layer": layer, "unit": unit, "score": random.normal(), "standard_error": 0.1}
        for run in runs
        for layer, n in units.items()
        for unit in range(n)
    ]
    low_data = [
        {
            **run,
            "ratio": ratio,
            "repair": repair,
            "step": step,
            "layer": layer,
            "units_left": 2,
            "loss": 0.3 + step,
            "accuracy": 0.9 - step / 40,
        }
        | {"parameters": 1000 - 10 * step, "macs": 5000 - 50 * step}
        for run in runs
        for ratio in (0.25, 0.5)
        for repair in REPAIRS[:trials]
        for step, layer in enumerate([np.nan, *reversed(units)])
    ]
    fine_tune = [
        {**run, "ratio": ratio, "repair": "none", "images": images, "epochs": 1}
        | {"loss": 0.5 + random.random(), "accuracy": random.random()}
        for run in runs
        for ratio in (0.25, 0.5)
        for images in ("all", 0, 100, 20)[: 4 * (layers > 1) or 1]
    ]
    untrained = [
        {**run, "step": step, "layer": layer, "units_left": np.nan if step == 0 else 2, "accuracy": random.random()}
        for run in runs
        if run["trial"] == 0
        for step, layer in enumerate([np.nan, *reversed(units)])
    ]
    compress = [
        {**run, "target": size, "parameters": parameters, "accuracy_before": 0.1, "accuracy": random.random()}
        for run in runs
        if run["trial"] == 0
        for size, parameters in list(SIZES.items())[:layers]
    ]
    exact = [run | {"criterion": "exact Shapley", "aggregate": "mean"} for run in runs[:: len(orders) * trials]]
    oracle = [
        {
            **run,
            "layer": "layer0.conv",
            "size": size,
            "overlap_low": 0.5,
            "overlap_high": 0.5,
            "cumulative_overlap": 0.4,
        }
        | {"gap": random.random(), "accuracy": random.random()}
        for run in [*runs, *exact]
        for size in (1, 2)
    ]
    estimators = [
        {"net": "net", "seed": seed, "layer": layer, "units": n, "truth": "exact Shapley", "estimator": name}
        | {"setting": f"size={size}" if size else np.nan, "repetition": repetition, "evaluations": 10 * size}
        | {"spearman": 1 - random.random() / 2, "mse_ratio": random.random(), "auc_loss": random.random()}
        | {"gap": random.random() if n == 3 else np.nan}
        for seed, repetition, (layer, n) in product(range(seeds), range(trials), list(units.items())[:5])
        for name in [*criteria, "exact Shapley"]
        for size in ((1, 2, 4) if name != "random" else (0,))
    ]
    training = [
        {"net": "net", "seed": seed, "epoch": epoch, "lr": 0.1, "seconds": 1.0}
        | {f"{part}_{of}": random.random() for part in ("train", "validation") for of in ("loss", "accuracy")}
        for seed in range(seeds)
        for epoch in (1, 2, 3)
    ]
    named = {
        "curves": curves,
        "auc": auc,
        "scores": scores,
        "low_data": low_data,
        "fine_tune": fine_tune,
        "untrained": untrained,
        "compress": compress,
        "oracle": oracle,
        "estimators": estimators,
        "training": training,
    }
    return {name: pd.DataFrame(rows) for name, rows in named.items()}


DRAWN = {
    "curves": [
        lambda t, s: figures.removal_curves(t, s, "loss"),
        lambda t, s: figures.removal_curves(t, s, "accuracy"),
    ],
    "auc": [figures.auc_bars, figures.auc_layers],
    "scores": [figures.score_strips],
    "low_data": [figures.low_data_curves, figures.low_data_final, lambda t, s: figures.low_data_final(t, s, "loss")],
    "fine_tune": [figures.fine_tune_amounts],
    "untrained": [
        lambda t, s: figures.untrained_steps(t, s, dict.fromkeys(t["layer"].dropna(), 2), 10),
        lambda t, s: figures.untrained_steps(t, s, dict.fromkeys(t["layer"].dropna(), 4)),
    ],
    "compress": [lambda t, s: figures.compress_sizes(t, NETWORKS, s)],
    "oracle": [figures.oracle_overlap, figures.oracle_accuracy],
    "estimators": [figures.estimators_cost, figures.estimators_pruning],
    "training": [lambda t, _: figures.training_curves(t)],
}


@pytest.mark.parametrize("study", STUDIES)
@pytest.mark.parametrize("name", DRAWN)
def test_figures_are_drawn(name, study, tmp_path):
    criteria, *sizes = STUDIES[study]
    table, styles = tables(criteria, *sizes)[name], figures.criterion_styles(criteria)
    for number, draw in enumerate(DRAWN[name]):
        stem = tmp_path / str(number) / "figure"
        figures.save(draw(table, styles), stem.with_suffix(".svg"))
        root = ElementTree.parse(stem.with_suffix(".svg")).getroot()
        assert root.tag.endswith("svg")
        pixels = matplotlib.image.imread(stem.with_suffix(".png"))[..., :3]
        assert (pixels.min(2) < 0.9).mean() > 0.002  # not blank
        assert pixels[0].min() > 0.9  # nothing is cut off at the top ...
        assert pixels[:, -1].min() > 0.9  # ... at the right ...
        assert pixels[-1].min() > 0.9  # ... or at the bottom


@pytest.mark.parametrize("name", DRAWN)
def test_the_same_table_gives_the_same_bytes(name, tmp_path):
    table, styles = tables(CRITERIA, 2, 1, 2)[name], figures.criterion_styles(CRITERIA)
    for run in ("one", "two"):
        figures.save(DRAWN[name][0](table, styles), tmp_path / run / "figure.png")
    for suffix in (".svg", ".png"):
        one, two = ((tmp_path / run / f"figure{suffix}").read_bytes() for run in ("one", "two"))
        assert one == two


@pytest.mark.parametrize("name", DRAWN)
def test_empty_tables_are_refused(name):
    table = tables(CRITERIA, 1, 1, 1)[name].iloc[:0]
    with pytest.raises(ShapPruneError, match="nothing to draw"):
        DRAWN[name][0](table, figures.criterion_styles(CRITERIA))


def labels(axes):
    return [label.get_text() for label in axes.get_xticklabels()]


def test_a_single_repair_is_no_part_of_the_titles():
    few, several = (tables(CRITERIA, 2, 1, trials)["low_data"] for trials in (1, 3))
    styles = figures.criterion_styles(CRITERIA)
    for draw in (figures.low_data_curves, figures.low_data_final):
        assert not any("repair" in axes.get_title("left") for axes in draw(few, styles).axes)
        titles = [axes.get_title("left").splitlines() for axes in draw(several, styles).axes]
        expected = [f"repair: {repair}" for repair in REPAIRS]
        assert [title[1] for title in titles] == 2 * expected
        assert [title[0][:3] for title in titles] == 3 * ["25%"] + 3 * ["50%"]


def test_amounts_of_images_are_in_their_order(tmp_path):
    styles = figures.criterion_styles(CRITERIA)
    tables(CRITERIA, 2, 2, 1)["fine_tune"].to_csv(tmp_path / "table.csv", index=False)
    accuracy, loss, *others = figures.fine_tune_amounts(figures.read(tmp_path / "table.csv", "net"), styles).axes
    assert labels(accuracy) == labels(loss) == ["0", "20", "100", "all"]
    assert list(accuracy.get_xticks()) == [0, 1, 2, 3]
    assert len(others) == 2  # the other ratio
    table = pd.read_csv(tmp_path / "table.csv")
    numbers = table[table["images"] != "all"].astype({"images": int})
    assert labels(figures.fine_tune_amounts(numbers, styles).axes[0]) == ["0", "20", "100"]


def test_untrained_networks_are_drawn_beside_chance():
    table = tables(CRITERIA, 2, 3, 1)["untrained"]
    accuracy, left = DRAWN["untrained"][0](table, figures.criterion_styles(CRITERIA)).axes
    assert labels(accuracy) == ["intact", "layer1.conv", "layer0.conv"]
    assert [0.1, 0.1] in [list(line.get_ydata()) for line in accuracy.lines]
    assert len(left.lines) == 4 * (1 + 3)  # the mean and the seeds of each criterion and aggregate
    assert all(list(line.get_ydata()) == [1, 1, 1] for line in left.lines)
    _, left = DRAWN["untrained"][1](table, figures.criterion_styles(CRITERIA)).axes
    assert all(list(line.get_ydata()) == [1, 0.5, 0.5] for line in left.lines)


def test_compressed_networks_are_drawn_beside_the_intact_one():
    styles = figures.criterion_styles(CRITERIA)
    after, before = DRAWN["compress"][0](tables(CRITERIA, 5, 2, 1)["compress"], styles).axes
    assert labels(after) == labels(before)
    assert labels(after) == ["tiny\n900", "1\n2k", "a-name-that-is-long\nnear\n10k–10.1k", "half\n50k"]
    np.testing.assert_allclose(after.lines[-1].get_ydata(), 0.85)
    assert after.get_xscale() == "log"
    ranking = DRAWN["compress"][0](tables(CRITERIA, 1, 2, 1)["compress"], styles)
    assert len(ranking.axes[0].get_yticks()) == 4
    assert "half: 50k parameters" in ranking.get_supxlabel()


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_a_loss_that_overflowed_leaves_the_others_as_they_were(bad):
    table, styles = tables(CRITERIA, 2, 1, 1)["auc"], figures.criterion_styles(CRITERIA)
    whole = figures.auc_layers(table[table["criterion"] != "random"], styles).axes[0]
    table.loc[table["criterion"] == "random", "auc_loss"] = bad
    axes = figures.auc_layers(table, styles).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()][-1] == "random"
    shades, others = axes.images[0].get_array(), whole.images[0].get_array()
    np.testing.assert_array_equal(shades[:-1], others)
    assert (shades[-1] == 1).all()


@pytest.mark.parametrize("criteria", [CRITERIA, MANY, ESTIMATORS], ids=["few", "many", "estimators"])
def test_styles_tell_criteria_apart(criteria):
    styles = figures.criterion_styles({name: entry for name, entry in criteria.items() if name != "random"})
    looks = {(style.colour, style.dashes, style.marker, style.filled) for style in styles.values()}
    assert len(looks) == len(styles)


def test_styles_tell_shapley_values_and_aggregates():
    styles = figures.criterion_styles(CRITERIA)
    assert styles["shapley", "mean"].shapley
    assert not styles["taylor", "mean"].shapley
    assert styles["shapley", "mean+2std"].colour == styles["shapley", "mean"].colour
    assert styles["shapley", "mean+2std"].label == "shapley (mean+2std)"
    assert styles["taylor", "mean"].label == "taylor"  # the aggregate is named only where there is a choice


def test_what_is_scored_again_looks_like_what_scores_it():
    rescored = {of: {"method": "rescored", "of": of, "aggregates": ["mean"]} for of in ("permutation", "taylor")}
    styles = figures.criterion_styles(rescored)
    assert styles["permutation", "mean"].shapley
    assert not styles["taylor", "mean"].shapley


def test_a_criterion_without_a_style_is_refused():
    table = tables(CRITERIA, 1, 1, 1)["auc"]
    with pytest.raises(ShapPruneError, match="unknown criterion 'random mean'"):
        figures.auc_bars(table, figures.criterion_styles({"taylor": CRITERIA["taylor"]}))


def test_tables_are_read_by_network(tmp_path):
    path = tmp_path / "table.csv"
    tables(CRITERIA, 1, 1, 1)["auc"].to_csv(path, index=False)
    assert len(figures.read(path, "net")) == 8
    with pytest.raises(ShapPruneError, match="no rows of network 'other'"):
        figures.read(path, "other")
