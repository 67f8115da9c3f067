"""Tables of studies that never ran, for the tests of figures."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd

from shapprune.criteria.catalog import CATALOG

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
    """The tables of a study of one network, ``net``."""
    random = np.random.default_rng(0)
    orders = [(name, how) for name, settings in criteria.items() for how in settings["aggregates"]]
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
    budgets = [
        {"net": "net", "seed": seed, "method": method, "measure": "macs", "budget": budget, "trial": trial}
        | {"macs": 5000 * budget - 9 * trial, "intact_macs": 5000, "intact_accuracy": 0.85 + seed / 10}
        | {"accuracy": 0.8 * budget**0.3 + 0.1 * random.random()}
        for seed, trial, method in product(range(seeds), range(trials), criteria)
        for budget in ((0.75, 0.5, 0.25) if layers > 1 else (0.5,))
    ]
    retrained = [
        {**row, "loss_before": 1.0, "accuracy_before": row["accuracy"], "accuracy": 0.8 + 0.1 * random.random()}
        for row in budgets
    ]
    deactivated = [
        {**run, "share": share, "deactivated": 1, "units": sum(units.values()), "loss": 0.3 + share + random.random()}
        | {"accuracy": random.random(), "intact_loss": 0.3, "intact_accuracy": 0.9}
        for run in runs
        for share in ((0.05, 0.1, 0.3) if layers > 1 else (0.3,))
    ]
    quantised = [
        {"net": "net", "seed": seed, "method": method, "bits": bits, "beta": beta, "trial": trial, "intact_loss": 0.3}
        | {"loss": 0.3 + random.random(), "accuracy": random.random(), "intact_accuracy": 0.9, "test_agreement": 0.95}
        for seed, trial, bits in product(range(seeds), range(trials), (4, 8)[: layers or 1])
        for method, beta in [("round", np.nan), *(("a-method", beta) for beta in (0.1, 0.5)[:layers])]
    ]
    tuned = [
        {**run, "method": run["criterion"], "lr": 0.1, "trainable": 151, "parameters": 1682, "loss_before": 0.5}
        | {"accuracy_before": 0.8, "loss": 0.3 + random.random() / 9, "accuracy": 0.8 + random.random() / 9}
        for run in [*runs, *({**runs[0], "criterion": name, "aggregate": "mean"} for name in ("full", "lora"))]
    ]
    probed = [
        {**run, "method": run["criterion"], "layer": layer, "units": n, "accuracy": 0.5 + random.random() / 2}
        for run in [*runs, {**runs[0], "criterion": "all", "aggregate": "mean"}]
        for layer, n in [*list(units.items())[:1], ("all", sum(units.values()))]
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
        "networks": NETWORKS,
        "curves": curves,
        "auc": auc,
        "scores": scores,
        "low_data": low_data,
        "fine_tune": fine_tune,
        "untrained": untrained,
        "compress": compress,
        "budgets": budgets,
        "retrained": retrained,
        "deactivated": deactivated,
        "quantised": quantised,
        "tuned": tuned,
        "probed": probed,
        "oracle": oracle,
        "estimators": estimators,
        "training": training,
    }
    return {name: pd.DataFrame(rows) for name, rows in named.items()}


def labels(axes):
    """What is written along the horizontal axis."""
    return [label.get_text() for label in axes.get_xticklabels()]
