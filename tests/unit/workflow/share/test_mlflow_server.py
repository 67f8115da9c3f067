"""A server of MLflow, and the pages that it shows."""

from __future__ import annotations

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

from shapprune.core.paths import REPOSITORY as ROOT
from tests.unit.workflow.share.results import Results, runs

CRITERIA, ORDER = "tags.`shapprune.kind` = 'criterion'", "metrics.`auc_loss`"  # runs to show, as MLflow wants it


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
        assert (told["tracking_uri"], told["added"]) == (address, 18)
        assert len(runs(address)) == 18
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
