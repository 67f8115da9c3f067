"""A study is mirrored into MLflow at its end, once, and not where that is turned off."""

from __future__ import annotations

import pytest

from shapprune.core.files import read_json
from tests.study import STUDY


@pytest.fixture(autouse=True)
def _no_server(monkeypatch):
    for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(variable, raising=False)


def test_nothing_is_mirrored_where_it_is_off(finished):
    assert STUDY["tracking"] is False  # as YAML reads a bare `off`
    assert not (finished.folder / "results" / "tracking.json").exists()
    assert finished.planned("track") == {"track": 1}


def test_study_is_mirrored_at_its_end_and_once(finished, tmp_path, monkeypatch):
    workflow = finished.copy(tmp_path / "study")
    workflow.study["tracking"] = "after"
    workflow.run()
    results = workflow.folder / "results"
    told = read_json(results / "tracking.json")
    assert told["tracking_uri"] == f"sqlite:///{results}/mlflow/mlflow.db"
    kinds = {"study": 1, "network": 1, "scores": 10, "coalitions": 1, "estimator": 4, "criterion": 4}
    kinds |= {"compressed": 4, "budget": 4, "quantised": 9, "tuned": 2, "probed": 2, "untrained": 1}
    assert told["runs"] == kinds
    assert told["added"] == sum(kinds.values())
    assert workflow.planned() == {}
    assert not list(workflow.folder.glob("ml*"))  # MLflow's own default is the folder that it runs in

    workflow.study["memory_mb"] = 64  # another configuration, the same results
    workflow.run("track")
    assert read_json(results / "tracking.json")["added"] == 1  # the study; all that it consists of is there

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    done = workflow("--cores", "2", "--", "track")
    assert done.returncode != 0
    assert "error: results could not be mirrored into MLflow at http://127.0.0.1:9 ([Errno 111]" in done.stdout
    assert "Traceback" not in done.stdout
    assert "secret" not in done.stdout
