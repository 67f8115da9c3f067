"""A finished study as it lies in a folder, and what MLflow has of it."""

from __future__ import annotations

import os
from pathlib import Path

from shapprune.core.files import write_json
from shapprune.core.tables import write_table
from shapprune.workflow.share import logged
from shapprune.workflow.share import mlflow as tracking
from shapprune.workflow.share.logged_run import LoggedRun
from shapprune.workflow.stages.registry import TABLES
from shapprune.workflow.study import config as study

CONFIG = {
    "study": "fake",
    "networks": {
        "small": {"architecture": "mlp", "options": {"widths": [2, 2]}, "data": "digits", "train": {"epochs": 3}}
    },
    "criteria": {
        "random": {},
        "shapley": {"method": "permutation", "permutations": 2, "aggregates": ["mean", "mean+2std"]},
    },
    "scoring": {"trials": 2},
    "curves": {"images": 100},
    "estimators": {"compared": {"permutation": {"over": {"permutations": [2, 5]}}}},
    "low_data": {"ratios": [0.5], "trials": 1},
    "fine_tune": {"criteria": ["random"], "images": [0, 50]},
    "untrained": {"criteria": ["shapley"], "networks": {"fresh": {"architecture": "mlp", "data": "digits"}}},
    "compress": {"criteria": ["random"], "sizes": {"half": {"ratio": 0.5}}, "train": {"epochs": 2}},
    "deactivation": {"criteria": ["random"], "shares": [0.5]},
    "quantisation": {"methods": {"ours": {"method": "shapley"}}, "bits": [4], "trials": 1},
    "budgets": {
        "methods": {"lean": {"criterion": "reconstruction"}},
        "sizes": [0.5],
        "trials": 1,
        "train": {"epochs": 2},
    },
    "selective_tuning": {"methods": ["random"], "images": 9, "trials": 2, "rates": [0.1, 0.01]},
    "probe": {"methods": ["all"], "images": 10, "trials": 1},
}
MACHINE = {"device": "cpu", "versions": {"python": "3.11.7", "torch": "2.13.0"}, "peak_memory_mb": 100.5}
GAME = {"images": 100, "site": "activation", "payoff": "loss", "precision": "tf32"}
MD5 = "0123456789abcdef0123456789abcdef"


TRAINING = TABLES["training"].columns[2:]  # without net and seed
EPOCHS = [dict.fromkeys(TRAINING, 0.5) | {"epoch": epoch, "seconds": 1.5} for epoch in (1, 2)]
ESTIMATORS, OVERLAPS = TABLES["estimators"].columns, TABLES["oracle"].columns


def task(name: str, **parts) -> dict:
    return {"stage": "some", "key": f"key of {name}", "parts": parts}


def named(name: str, **names) -> dict:
    return task(name) | {"names": {"net": "small", "seed": 0} | names}


class Results:
    """A finished study as it lies in a folder, but for what MLflow is not told; no network was ever there."""

    def __init__(self, folder: Path, overlay: dict | None = None) -> None:
        self.folder, self.run = folder, folder / "small" / "seed0"
        self.fresh = folder / "fresh" / "seed0" / "untrained.json"
        self.fitted, self.retrained = (
            self.run / folder / "lean" / "macs0.5" / "trial0.json" for folder in ("budgets", "retrained")
        )
        self.quantised = self.run / "quantised" / "ours" / "bits4" / "beta0.5" / "trial0.json"
        self.config = study.validate(CONFIG | (overlay or {}))
        self.orders = [
            (name, aggregate, trial)
            for name, entry in self.config["criteria"].items()
            for aggregate in entry["aggregates"]
            for trial in range(entry["trials"])
        ]
        self._network()
        for name, _, trial in self.orders:
            self._scores(name, trial)
        names = {"net": "small", "seed": 0, "layer": "fc1", "units": 2}
        write_json(
            self.run / "oracle" / "fc1.json", {**names, **GAME, **MACHINE, "evaluations": 4, "task": task("fc1")}
        )
        self._estimators()
        self._measured()
        self._compressed()
        self._fitted()
        self._quantised()
        self._of_units()
        self._benchmarks()
        write_json(folder / "run_config.yaml", self.config)
        (folder / "figures").mkdir(exist_ok=True)
        (folder / "figures" / "auc.svg").write_text("<svg/>")

    def _network(self) -> None:
        data = {"name": "digits", "shape": [1, 8, 8], "classes": 10, "train": 1437, "test": 360, "md5": MD5}
        sizes = {"parameters": 150, "macs": 140, "test_loss": 0.5, "test_accuracy": 0.75}
        network = self.config["networks"]["small"]
        parts = {key: network[key] for key in ("architecture", "options", "train")}
        facts = {"net": "small", "seed": 0, "network": network, "data": data, **sizes, **MACHINE}
        write_json(self.run / "model.json", {**facts, "task": task("model", **parts)})
        epochs = [
            dict.fromkeys(TRAINING, 0.5 / epoch) | {"epoch": epoch, "seconds": 2.0, "validation_loss": ""}
            for epoch in (1, 2, 3)
        ]
        names = {"net": "small", "seed": 0}
        write_table(self.table("training"), ["net", "seed", *TRAINING], [names | row for row in epochs])

    def _scores(self, criterion: str, trial: int) -> None:
        names = {"net": "small", "seed": 0, "layer": "fc1", "units": 2, "criterion": criterion, "trial": trial}
        how = {"method": self.config["criteria"][criterion]["method"], "options": {"deep": {"a+b": True}}}
        cost = {
            "evaluations": 10 + trial,
            "seconds": 0.5,
            "standard_error": {"mean": [1.0, 3.0], "mean+2std": [2.0, 2.0]},
        }
        path = self.run / "scores" / criterion / "fc1" / f"trial{trial}.json"
        write_json(path, names | how | cost | GAME | MACHINE | {"task": task(f"{criterion}{trial}")})

    def _estimators(self) -> None:
        names = {"net": "small", "seed": 0, "layer": "fc1", "units": 2, "truth": "exact Shapley", "setting": ""}
        rows = [
            dict.fromkeys(ESTIMATORS, 0.5)
            | names
            | {"evaluations": evaluations, "gap": ""}
            | {"estimator": "permutation", "repetition": repetition, "spearman": repetition}
            for evaluations in (4, 10)
            for repetition in (0, 1)
        ]
        truth = dict.fromkeys(ESTIMATORS, "") | names | {"estimator": "exact Shapley"}
        write_table(self.run / "estimators" / "fc1.csv", ESTIMATORS, [truth, *rows])
        truth = named("truth", estimator="exact Shapley")
        tasks = {"permutation/permutations=2": named("two", estimator="permutation"), "truth": truth}
        write_json(self.run / "estimators" / "fc1.json", {"task": {"key": "fc1"}, "made_of": tasks})

    def _measured(self) -> None:
        low = "ratio0.5"
        for path, label in (
            ("curves/fc1", "{}/{}/{}"),
            ("oracle/fc1_overlap", "{}/{}/{}"),
            ("low_data", f"{{}}/{{}}/{low}/{{}}"),
            ("fine_tuned/random", f"{{}}/{{}}/{low}/{{}}"),
            ("deactivated", "{}/{}/trial{}/share0.5"),
        ):
            tasks = {
                label.format(*order): named(f"{path} {order}", criterion=order[0], aggregate=order[1])
                for order in self.orders
            }
            write_json(self.run / f"{path}.json", {"task": {"key": path}, "made_of": tasks})
        curves, areas, overlaps, chains = [], [], [], []
        for criterion, aggregate, trial in self.orders:
            order = {"net": "small", "seed": 0, "criterion": criterion, "aggregate": aggregate, "trial": trial}
            layer = order | {"layer": "fc1"}
            points = [
                {"removed": removed, "loss": removed + trial, "accuracy": 0.9 - removed / 4} for removed in range(3)
            ]
            curves += [layer | {"units": 2} | point for point in points]
            areas += [order | {"layer": each, "auc_loss": 1 + trial, "auc_accuracy": 0.25} for each in ("fc1", "all")]
            overlaps += [layer | dict.fromkeys(OVERLAPS[-7:], 0.5) | {"size": size} for size in (1, 2)]
            steps = [
                {"step": step, "loss": step + trial, "accuracy": 0.5, "parameters": 9, "macs": 8} for step in (0, 1)
            ]
            where = {"layer": "fc1", "units_left": ""}
            chain = order | {"ratio": 0.5, "repair": "none", "scored_on": "training"}
            chains += [chain | where | step for step in steps]
        write_table(self.table("curves"), TABLES["curves"].columns, curves)
        write_table(self.table("auc"), [*TABLES["curves"].columns[:6], "auc_loss", "auc_accuracy"], areas)
        write_table(self.table("oracle"), OVERLAPS, overlaps)
        write_table(self.table("low_data"), TABLES["low_data"].columns, chains)
        tuned = [row | {"images": images, "epochs": 1} for row in chains if row["step"] for images in (0, 50)]
        rows = [row for row in tuned if row["criterion"] == "random"]
        write_table(self.table("fine_tune"), TABLES["fine_tune"].columns, rows)
        columns = TABLES["deactivated"].columns
        names = [{key: value for key, value in row.items() if key in columns} for row in rows[::2]]
        of_random = [dict.fromkeys(columns, 0.5) | each | {"test_agreement": 0.75} for each in names]
        write_table(self.table("deactivated"), columns, of_random)
        fresh = {"net": "fresh", "seed": 0, "criterion": "shapley", "aggregate": "mean"}
        rows = [fresh | where | step for step in steps]
        write_table(self.fresh.with_suffix(".csv"), TABLES["untrained"].columns, rows)
        tasks = {"shapley/fc1": named("fresh shapley", criterion="shapley")}
        write_json(self.fresh, {"task": {"key": "fresh"}, "made_of": tasks})

    def _compressed(self) -> None:
        names = {"net": "small", "seed": 0, "criterion": "random", "aggregate": "mean", "target": "half"}
        sizes = {
            "parameters": 50,
            "macs": 40,
            "loss_before": 2.0,
            "accuracy_before": 0.25,
            "loss": 1.0,
            "accuracy": 0.5,
        }
        facts = {**names, **sizes, "validation_loss": 1.0, "validation_accuracy": 0.5, "epochs": 2, "history": EPOCHS}
        key = task("half", to={"ratio": 0.5}, train={"epochs": 2})
        write_json(self.run / "compressed" / "random" / "mean" / "half.json", {**facts, **MACHINE, "task": key})

    def _fitted(self) -> None:
        names = {"net": "small", "seed": 0, "method": "lean", "measure": "macs", "budget": 0.5, "trial": 0}
        facts = {"images": 100, "macs": 70, "accuracy": 0.5, "agreement": 0.75, "distil_rate": None, "seconds": 4.0}
        key = task("lean", criterion="reconstruction", distil=400)
        write_json(self.fitted, {**names, **facts, **MACHINE, "task": key})
        facts = {"images": 100, "macs": 70, "accuracy_before": 0.5, "accuracy": 0.75, "epochs": 2, "seconds": 3.0}
        key = task("lean retrained", fitted="key of lean", train={"epochs": 2}, teacher=1.0, test_images="all")
        write_json(self.retrained, {**names, **facts, "history": EPOCHS, **MACHINE, "task": key})

    def _quantised(self) -> None:
        names = {"net": "small", "seed": 0, "method": "ours", "bits": 4, "beta": 0.5, "images": 100, "trial": 0}
        facts = {"bytes": 300, "proxy_loss": 0.25, "accuracy": 0.5, "seconds": 2.0}
        key = task("ours", method="shapley", in_turn=False, bits=4, beta=0.5)
        write_json(self.quantised, {**names, **facts, **MACHINE, "task": key})

    def _of_units(self) -> None:
        names = {"net": "small", "seed": 0, "method": "random", "aggregate": "mean", "data": "mnist", "share": 0.1}
        rows = [
            dict.fromkeys(TABLES["tuned"].columns, 1.0)
            | names
            | {"trial": trial, "lr": rate, "validation_loss": rate, "loss": 1 + trial - rate}
            for trial in (0, 1)
            for rate in (0.5, 0.25)
        ]
        write_table(self.run / "tuned" / "random.csv", TABLES["tuned"].columns, rows)
        write_json(
            self.run / "tuned" / "random.json",
            {"task": {"key": "tuned"}, "made_of": {"mean/trial0": named("tuned random", aggregate="mean")}},
        )
        names = {"net": "small", "seed": 0, "method": "all", "aggregate": "mean"}
        rows = [
            dict.fromkeys(TABLES["probed"].columns, 0.5) | names | {"layer": layer, "units": units}
            for layer, units in (("fc1", 2), ("all", 4))
        ]
        write_table(self.run / "probed.csv", TABLES["probed"].columns, rows)
        tasks = {"all/mean/trial0": named("probed all", method="all", aggregate="mean")}
        write_json(self.run / "probed.json", {"task": {"key": "probed"}, "made_of": tasks})

    def _benchmarks(self) -> None:
        """Two jobs at the same time, from 100 to 105 and from 103 to 109; after a pause, one from 200 to 201."""
        for name, seconds, end in (("train", 5.0, 105), ("score", 6.0, 109), ("prune", 1.0, 201)):
            path = self.folder / "benchmarks" / name / "job.tsv"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"s\th:m:s\n{seconds}\t-\n")
            os.utime(path, (end, end))

    def table(self, name: str) -> Path:
        return self.folder / "tables" / f"{name}.csv"

    def runs(self) -> list[LoggedRun]:
        measured = ("low_data", "curves/fc1", "oracle/fc1_overlap", "fine_tuned/random", "deactivated")
        manifests = {
            "network": [self.run / "model.json"],
            "scores": sorted((self.run / "scores").rglob("*.json")),
            "coalitions": [self.run / "oracle" / "fc1.json"],
            "estimator": [self.run / "estimators" / "fc1.json"],
            "criterion": [self.run / f"{name}.json" for name in measured],
            "compressed": [self.run / "compressed" / "random" / "mean" / "half.json"],
            "budget": [self.fitted],
            "retrained": [self.retrained],
            "quantised": [self.quantised],
            "untrained": [self.fresh],
            "tuned": [self.run / "tuned" / "random.json"],
            "probed": [self.run / "probed.json"],
        }
        paths = {kind: [str(path) for path in each] for kind, each in manifests.items()}
        folders = self.folder / "tables", self.folder / "benchmarks"
        return logged.collect(self.config, paths, *folders, [("best/small", 0.5)])

    def mirror(self, **changed: object) -> dict:
        paths = [self.folder / "run_config.yaml", self.folder / "figures" / "auc.svg", self.table("auc")]
        files = {str(path.relative_to(self.folder)): path for path in paths}
        return tracking.mirror(self.runs(), files, self.folder / "mlflow")


def runs(uri: str) -> dict[str, object]:
    """All runs by their names; a name that is there twice is an error."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    (experiment,) = (each for each in client.search_experiments() if each.name == "shapprune")
    found = client.search_runs([experiment.experiment_id])
    named = {run.info.run_name: run for run in found}
    assert len(named) == len(found)
    return named
