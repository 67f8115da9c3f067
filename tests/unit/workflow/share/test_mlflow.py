"""Results mirrored into MLflow: what is logged, that it is logged once, and what is said where it cannot be."""

from __future__ import annotations

import copy
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from shapprune import ShapPruneError
from shapprune.core.files import write_json
from shapprune.core.tables import write_table
from shapprune.workflow.share import logged
from shapprune.workflow.share import mlflow as tracking
from shapprune.workflow.stages.columns import (
    CURVES,
    ESTIMATORS,
    FINE_TUNE,
    LOW_DATA,
    OVERLAPS,
    TRAINING,
    UNTRAINED,
)
from shapprune.workflow.study import config as study

pytestmark = pytest.mark.xdist_group("mlflow")  # importing it and a new database cost seconds: once for all

ROOT = Path(__file__).parents[4]
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
}
MACHINE = {"device": "cpu", "versions": {"python": "3.11.7", "torch": "2.13.0"}, "peak_memory_mb": 100.5}
GAME = {"images": 100, "site": "activation", "payoff": "loss", "precision": "tf32"}
CRITERIA, ORDER = "tags.`shapprune.kind` = 'criterion'", "metrics.`auc_loss`"  # runs to show, as MLflow wants it
MD5 = "0123456789abcdef0123456789abcdef"


def task(name: str, **parts) -> dict:
    return {"stage": "some", "key": f"key of {name}", "parts": parts}


class Results:
    """A finished study as it lies in a folder, but for what MLflow is not told; no network was ever there."""

    def __init__(self, folder: Path, overlay: dict | None = None) -> None:
        self.folder, self.run = folder, folder / "small" / "seed0"
        self.fresh = folder / "fresh" / "seed0" / "untrained.json"
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
        tasks = {"permutation/permutations=2": task("two"), "truth": task("truth")}
        write_json(self.run / "estimators" / "fc1.json", {"task": {"key": "fc1"}, "made_of": tasks})

    def _measured(self) -> None:
        low = "ratio0.5"
        for path, label in (
            ("curves/fc1", "{}/{}/{}"),
            ("oracle/fc1_overlap", "{}/{}/{}"),
            ("low_data", f"{{}}/{{}}/{low}/{{}}"),
            ("fine_tuned/random", f"{{}}/{{}}/{low}/{{}}"),
        ):
            tasks = {label.format(*order): task(f"{path} {order}") for order in self.orders}
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
            chains += [order | {"ratio": 0.5, "repair": "none"} | where | step for step in steps]
        write_table(self.table("curves"), CURVES, curves)
        write_table(self.table("auc"), [*CURVES[:6], "auc_loss", "auc_accuracy"], areas)
        write_table(self.table("oracle"), OVERLAPS, overlaps)
        write_table(self.table("low_data"), LOW_DATA, chains)
        tuned = [row | {"images": images, "epochs": 1} for row in chains if row["step"] for images in (0, 50)]
        write_table(self.table("fine_tune"), FINE_TUNE, [row for row in tuned if row["criterion"] == "random"])
        fresh = {"net": "fresh", "seed": 0, "criterion": "shapley", "aggregate": "mean"}
        write_table(self.fresh.with_suffix(".csv"), UNTRAINED, [fresh | where | step for step in steps])
        write_json(self.fresh, {"task": {"key": "fresh"}, "made_of": {"shapley/fc1": task("fresh shapley")}})

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
        epochs = [dict.fromkeys(TRAINING, 0.5) | {"epoch": epoch, "seconds": 1.5} for epoch in (1, 2)]
        facts = {**names, **sizes, "validation_loss": 1.0, "validation_accuracy": 0.5, "epochs": 2, "history": epochs}
        key = task("half", to={"ratio": 0.5}, train={"epochs": 2})
        write_json(self.run / "compressed" / "random" / "mean" / "half.json", {**facts, **MACHINE, "task": key})

    def table(self, name: str) -> Path:
        return self.folder / "tables" / f"{name}.csv"

    def runs(self) -> list[logged.LoggedRun]:
        scores = [self.run / "scores" / name for name in self.config["criteria"]]
        names = ("low_data", "curves/fc1", "oracle/fc1_overlap", "fine_tuned/random")
        measured = [self.run / f"{name}.csv" for name in names]
        manifests = [self.run / "model.json"], scores, [self.run / "oracle" / "fc1.json"]
        manifests = (
            *manifests,
            [self.run / "estimators" / "fc1.csv"],
            measured,
            [self.run / "compressed" / "random"],
            [self.fresh.with_suffix(".csv")],
        )
        return logged.collect(self.config, *(map(str, each) for each in manifests), self.folder / "tables")

    def mirror(self, **changed: object) -> dict:
        paths = [self.folder / "run_config.yaml", self.folder / "figures" / "auc.svg", self.table("auc")]
        files = {str(path.relative_to(self.folder)): path for path in paths}
        return tracking.mirror(self.runs(), files, self.folder / "mlflow")


@pytest.fixture(scope="session")
def database(tmp_path_factory) -> Path:
    """A database with MLflow's tables and nothing in them."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def folder(database, tmp_path, monkeypatch) -> Path:
    """A folder for results, with a space and a plus in its name and an empty database in place."""
    for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    folder = tmp_path / "a study+" / "results"
    (folder / "mlflow").mkdir(parents=True)
    shutil.copy(database, folder / "mlflow")
    return folder


def runs(uri: str) -> dict[str, object]:
    """All runs by their names; a name that is there twice is an error."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    (experiment,) = (each for each in client.search_experiments() if each.name == "shapprune")
    found = client.search_runs([experiment.experiment_id])
    named = {run.info.run_name: run for run in found}
    assert len(named) == len(found)
    return named


def kinds(runs: dict[str, object]) -> list[str]:
    return sorted(run.data.tags["shapprune.kind"] for run in runs.values())


def test_records_are_of_what_a_person_cares_about(tmp_path):
    logged_runs = {run.name: run for run in Results(tmp_path).runs()}
    assert list(logged_runs) == [
        f"fake {study.digest(Results(tmp_path).config)}",
        "small/seed0",
        *(f"{name}/fc1/trial{trial} small/seed0" for name in ("random", "shapley") for trial in (0, 1)),
        "coalitions/fc1 small/seed0",
        "permutation/fc1 small/seed0",
        *("random/mean small/seed0", "shapley/mean small/seed0", "shapley/mean+2std small/seed0"),
        *("random/mean/half small/seed0", "shapley fresh/seed0"),
    ]
    metrics = logged_runs["shapley/mean+2std small/seed0"].metrics
    assert ("auc_loss", 1.5, 0) in metrics  # of all layers, the mean over the trials
    assert ("auc_loss/fc1", 1.5, 0) in metrics
    assert [value for name, value, _ in metrics if name == "removal_loss/fc1"] == [0.5, 1.5, 2.5]
    assert ("low_data_loss/ratio0.5", 1.5, 1) in metrics
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
    assert ("untrained_loss", 2.0, 1) in logged_runs["shapley fresh/seed0"].metrics
    assert logged_runs["shapley fresh/seed0"].params["method"] == "permutation"
    assert ("oracle_gap/fc1", 0.5, 2) in metrics
    assert ("evaluations", 10.5, 0) in metrics
    assert ("standard_error/mean", 2.0, 0) in logged_runs["random/fc1/trial1 small/seed0"].metrics
    assert logged_runs["small/seed0"].seconds == 6.0
    store = logged_runs["random/fc1/trial1 small/seed0"].tags["shapprune.store"]
    assert store == "data/store/ke/key of random1"


def test_study_is_mirrored_once(folder):
    from mlflow import MlflowClient

    results = Results(folder)
    told = results.mirror()
    assert told["tracking_uri"] == f"sqlite:///{folder}/mlflow/mlflow.db"
    assert told["runs"] == {"study": 1, "network": 1, "scores": 4, "coalitions": 1, "criterion": 3} | {
        "estimator": 1,
        "compressed": 1,
        "untrained": 1,
    }
    assert told["added"] == 13
    found, client = runs(told["tracking_uri"]), MlflowClient(told["tracking_uri"])
    parent = found[f"fake {study.digest(results.config)}"]
    assert parent.info.run_id == told["run"]
    assert parent.data.metrics["auc_loss/small/shapley/mean_2std"] == 1.5
    assert parent.data.params["networks.small.options.widths"] == "[2, 2]"
    children = [run for run in found.values() if run is not parent]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {told["run"]}
    assert {run.info.status for run in found.values()} == {"FINISHED"}

    network = found["small/seed0"]
    assert network.data.params["train.epochs"] == "3"
    assert network.data.metrics["test_accuracy"] == 0.75
    assert [point.step for point in client.get_metric_history(network.info.run_id, "epoch/train_loss")] == [1, 2, 3]
    assert network.info.end_time - network.info.start_time == 6000
    (data,) = network.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("digits", MD5)

    scores = found["shapley/fc1/trial1 small/seed0"].data
    assert scores.tags["shapprune.key"] == "key of shapley1"
    assert scores.tags["shapprune.versions.torch"] == "2.13.0"
    assert scores.tags["shapprune.device"] == "cpu"
    assert scores.params["options.deep.a_b"] == "true"
    assert scores.metrics["standard_error/mean_2std"] == 2.0
    assert scores.metrics["peak_memory_mb"] == 100.5

    assert found["shapley/mean+2std small/seed0"].data.params["aggregate"] == "mean+2std"
    places = {file.path for name in ("", "figures", "tables") for file in client.list_artifacts(told["run"], name)}
    assert places == {"figures", "tables", "run_config.yaml", "figures/auc.svg", "tables/auc.csv"}
    assert (folder / "mlflow" / "artifacts").is_dir()

    before = repr({name: run.to_dictionary() for name, run in found.items()})
    start = time.perf_counter()
    assert results.mirror()["added"] == 0
    assert time.perf_counter() - start < 3
    after = runs(told["tracking_uri"])
    assert repr({name: run.to_dictionary() for name, run in after.items()}) == before


def test_changed_configuration_adds_only_what_is_new(folder):
    first = Results(folder).mirror()
    overlay = copy.deepcopy(CONFIG)
    overlay["criteria"]["again"] = {"method": "random"}
    results = Results(folder, overlay)
    told = results.mirror()
    assert told["added"] == 1 + 2 + 1  # the study, two trials, a criterion
    found = runs(told["tracking_uri"])
    new = {name for name, run in found.items() if run.data.tags.get("mlflow.parentRunId") == told["run"]}
    assert new == {"again/fc1/trial0 small/seed0", "again/fc1/trial1 small/seed0", "again/mean small/seed0"}
    old = found["random/mean small/seed0"].data.tags
    assert old["mlflow.parentRunId"] == first["run"]
    assert study.digest(results.config) in old["shapprune.configs"]
    assert kinds(found).count("study") == 2
    assert results.mirror()["added"] == 0


def test_changed_files_are_shown(folder):
    from mlflow import MlflowClient

    results = Results(folder)
    told = results.mirror()
    (folder / "figures" / "auc.svg").write_text("<svg></svg>")
    assert results.mirror()["added"] == 0
    shown = MlflowClient(told["tracking_uri"]).download_artifacts(told["run"], "figures/auc.svg")
    assert Path(shown).read_text() == "<svg></svg>"


def test_what_was_cut_off_is_completed(folder, monkeypatch):
    from mlflow import MlflowClient

    results, end, ended = Results(folder), MlflowClient.set_terminated, []

    def cut_off(client, *arguments) -> None:
        ended.append(arguments)
        if len(ended) == 3:
            raise KeyboardInterrupt
        end(client, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_terminated", cut_off)
        with pytest.raises(KeyboardInterrupt):
            results.mirror()
    told = results.mirror()
    found = runs(told["tracking_uri"])
    assert kinds(found) == [
        "coalitions",
        "compressed",
        *["criterion"] * 3,
        "estimator",
        "network",
        *["scores"] * 4,
        "study",
        "untrained",
    ]
    assert {run.info.status for run in found.values()} == {"FINISHED"}
    client, network = MlflowClient(told["tracking_uri"]), found["small/seed0"].info.run_id
    assert len(client.get_metric_history(network, "epoch/lr")) == 3


def test_more_than_a_batch_holds(folder):
    from mlflow import MlflowClient

    parent = Results(folder).runs()[0]
    many = logged.LoggedRun(
        *("network", "large", "k", 0.0),
        params={f"option {index}": "x" * 7000 for index in range(130)},
        metrics=[("epoch/loss", float("nan") if step == 5 else step, step) for step in range(2100)],
    )
    told = tracking.mirror([parent, many], {}, folder / "mlflow")
    run = runs(told["tracking_uri"])["large"]
    assert len(run.data.params) == 130
    assert len(run.data.params["option 129"]) == 6000
    client = MlflowClient(told["tracking_uri"])
    assert len(client.get_metric_history(run.info.run_id, "epoch/loss")) == 2100


@pytest.mark.parametrize(
    "uri",
    ["http://me:secret@127.0.0.1:9", "sqlite:////proc/none/mlflow.db", "nonsense://me:secret@here", "/some/folder"],
)
def test_unreachable_mlflow_is_one_sentence(folder, monkeypatch, uri):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(ShapPruneError) as caught:
        Results(folder).mirror()
    text = str(caught.value)
    assert text.startswith("results could not be mirrored into MLflow at ")
    assert "secret" not in text
    assert "\n" not in text
    assert len(text) < 500
    assert "secret" not in str(tracking.server())


def test_experiment_can_be_named(folder, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "pruning at home")
    assert Results(folder).mirror()["experiment"] == "pruning at home"


def test_deleted_experiment_is_not_written_to(folder):
    from mlflow import MlflowClient

    results = Results(folder)
    client = MlflowClient(results.mirror()["tracking_uri"])
    client.delete_experiment(client.get_experiment_by_name("shapprune").experiment_id)
    with pytest.raises(ShapPruneError, match="'shapprune' was deleted; restore it or name another"):
        results.mirror()


def test_revision_is_that_of_the_workflow(tmp_path, monkeypatch):
    def git(*arguments: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        done = subprocess.run(
            ["git", *who, "-C", str(tmp_path), *arguments], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    git("init")
    git("commit", "--allow-empty", "--message=first")
    monkeypatch.setattr(tracking, "REPOSITORY", tmp_path)
    assert tracking._revision() == {"mlflow.source.git.commit": git("rev-parse", "HEAD")}
    monkeypatch.setattr(tracking, "REPOSITORY", tmp_path / "unpacked")  # inside a clone, but none itself
    (tmp_path / "unpacked").mkdir()
    assert tracking._revision() == {}


@pytest.mark.parametrize(
    ("given", "meant"), [({}, "after"), ({"tracking": False}, "off"), ({"tracking": "off"}, "off")]
)
def test_off_may_be_written_bare(given, meant):
    assert study.validate(CONFIG | given)["tracking"] == meant


@contextmanager
def serving(command: list[str], port: int, log: Path) -> Iterator[str]:
    """The address of a server that was started, while it runs."""
    variables = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    variables.pop("MLFLOW_TRACKING_URI", None)
    address = f"http://127.0.0.1:{port}"
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=variables, start_new_session=True)
        try:
            for _ in range(240):
                assert process.poll() is None, log.read_text()
                try:
                    urllib.request.urlopen(f"{address}/health", timeout=5)
                    break
                except OSError:
                    time.sleep(0.5)
            yield address
        finally:
            os.killpg(process.pid, 15)
            process.wait(30)


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.mark.slow
def test_server(folder, port, tmp_path, monkeypatch):
    from mlflow import MlflowClient

    shutil.move(folder / "mlflow" / "mlflow.db", tmp_path / "server.db")
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{tmp_path}/server.db"]
    command += ["--artifacts-destination", str(tmp_path / "artifacts")]
    results = Results(folder)
    with serving(command, port, tmp_path / "log") as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        told = results.mirror()
        assert (told["tracking_uri"], told["added"]) == (address, 13)
        assert len(runs(address)) == 13
        assert [file.path for file in MlflowClient(address).list_artifacts(told["run"], "tables")] == ["tables/auc.csv"]
        assert results.mirror()["added"] == 0
    assert list((folder / "mlflow").iterdir()) == []


def browse(address: str, expected: list[str], profile: Path) -> str:
    """The page as headless Chromium shows it, once it has what is expected."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))))
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", f"--user-data-dir={profile}"]
    command += ["--window-size=1600,1600", "--virtual-time-budget=60000", "--dump-dom", address]
    for _ in range(10):  # what is drawn when the page counts as loaded varies
        page = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
        if all(text in page for text in expected):
            break
    return page


@pytest.mark.slow
@pytest.mark.skipif(
    not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))),
    reason="Chromium is not there",
)
def test_make_ui_shows_runs_and_charts(folder, port, tmp_path):
    told = Results(folder).mirror()
    binaries = f"BIN={Path(sys.executable).parent}"
    make = [
        "make",
        "--file",
        str(ROOT / "Makefile"),
        "--directory",
        str(folder.parent),
        binaries,
        "READY=",
        f"PORT={port}",
    ]
    with serving([*make, "ui"], port, tmp_path / "log") as address:
        assert f"{address}/" in (tmp_path / "log").read_text()
        experiment = runs(told["tracking_uri"])["small/seed0"].info.experiment_id
        query = f"compareRunsMode=CHART&searchFilter={quote(CRITERIA)}&orderByKey={quote(ORDER)}"
        page = f"{address}/#/experiments/{experiment}/runs?{query}"
        expected = ["shapley/mean+2std small/seed0", ">auc_loss<", "plot-container plotly"]  # a run, a chart, drawn
        shown = browse(page, expected, tmp_path / "chrome")
        assert [text for text in expected if text not in shown] == []
        assert "random/fc1" not in shown
