"""Results mirrored into MLflow: what is logged, that it is logged once, and what is said where it cannot be."""

from __future__ import annotations

import copy
import subprocess
import time
from pathlib import Path

import pytest

from shapprune import ShapPruneError
from shapprune.workflow.share import mlflow as tracking
from shapprune.workflow.share.logged_run import LoggedRun
from shapprune.workflow.study import config as study
from tests.unit.workflow.share.results import CONFIG, MD5, Results, runs


def kinds(runs: dict[str, object]) -> list[str]:
    return sorted(run.data.tags["shapprune.kind"] for run in runs.values())


def test_study_is_mirrored_once(folder):
    from mlflow import MlflowClient

    results = Results(folder)
    told = results.mirror()
    assert told["tracking_uri"] == f"sqlite:///{folder}/mlflow/mlflow.db"
    assert told["runs"] == {"study": 1, "network": 1, "scores": 4, "coalitions": 1, "criterion": 3} | {
        "estimator": 1,
        "compressed": 1,
        "budget": 1,
        "retrained": 1,
        "quantised": 1,
        "untrained": 1,
        "tuned": 1,
        "probed": 1,
    }
    assert told["added"] == 18
    found, client = runs(told["tracking_uri"]), MlflowClient(told["tracking_uri"])
    parent = found[f"fake {study.digest(results.config)}"]
    assert parent.info.run_id == told["run"]
    assert parent.data.metrics["auc_loss/small/shapley/mean_2std"] == 1.5
    assert parent.data.metrics["best/small"] == 0.5
    assert parent.info.end_time - parent.info.start_time == 1000 * parent.data.metrics["seconds"] == 10_000
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
        "budget",
        "coalitions",
        "compressed",
        *["criterion"] * 3,
        "estimator",
        "network",
        "probed",
        "quantised",
        "retrained",
        *["scores"] * 4,
        "study",
        "tuned",
        "untrained",
    ]
    assert {run.info.status for run in found.values()} == {"FINISHED"}
    client, network = MlflowClient(told["tracking_uri"]), found["small/seed0"].info.run_id
    assert len(client.get_metric_history(network, "epoch/lr")) == 3


def test_more_than_a_batch_holds(folder):
    from mlflow import MlflowClient

    parent = Results(folder).runs()[0]
    many = LoggedRun(
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
