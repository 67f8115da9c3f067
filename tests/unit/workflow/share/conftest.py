"""A folder with an empty database of MLflow."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def database(once) -> Path:
    """A database with MLflow's tables and nothing in them; to make them costs seconds."""

    def fill(folder: Path) -> None:
        from mlflow import MlflowClient

        MlflowClient(f"sqlite:///{folder}/mlflow.db").search_experiments()

    return once("mlflow", fill) / "mlflow.db"


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
