"""Finished results, mirrored into MLflow. The files are the truth: deleting the mirror loses nothing.

A study is a parent run for each of its configurations, with a child run for each `LoggedRun`
(`shapprune.workflow.share.runs`). A run has the name and the key of its result as tags, and what is there under both
is not logged again.
Nothing here imports torch, and MLflow is imported when something is mirrored.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from shapprune.core.errors import ShapPruneError
from shapprune.core.files import checksum
from shapprune.core.paths import REPOSITORY
from shapprune.workflow.share.logged_run import LoggedRun
from shapprune.workflow.store.keys import digest

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Run

# Tags of runs. A result that several configurations share has one run, which names them all.
_NAME, _KEY, _KIND, _STUDY, _CONFIGS, _SHOWN = (
    f"shapprune.{name}" for name in ("name", "key", "kind", "study", "configs", "shown")
)


def server() -> str | None:
    """Where ``MLFLOW_TRACKING_URI`` points, without user and password; None where it is not set."""
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    return _public(uri) if uri else None


def experiment_name() -> str:
    """The name of the experiment: `shapprune`, unless ``MLFLOW_EXPERIMENT_NAME`` says otherwise."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or "shapprune"


def mirror(runs: Sequence[LoggedRun], files: Mapping[str, Path], folder: Path) -> dict[str, Any]:
    """Log the runs that are not in MLflow yet, and the study's files where they have changed.

    Args:
        runs: those of a study, the study itself first.
        files: what the study's run shows as artifacts, by the path that it has there.
        folder: where the database and artifacts are, unless ``MLFLOW_TRACKING_URI`` is set.

    Returns:
        Where the runs are, how many there are of each kind, and how many were added.

    Raises:
        ShapPruneError: MLflow cannot be reached, or refuses.
    """
    for variable, value in (
        ("MLFLOW_DISABLE_TELEMETRY", "true"),
        ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2"),  # seconds, not minutes, until a server counts as gone
        ("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true"),
    ):
        os.environ.setdefault(variable, value)
    uri, artifacts = os.environ.get("MLFLOW_TRACKING_URI"), None
    if not uri:
        folder = folder.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        uri, artifacts = f"sqlite:///{folder / 'mlflow.db'}", (folder / "artifacts").as_uri()
    from mlflow import MlflowClient

    with _sentence(_public(uri)):
        client = MlflowClient(uri)
        experiment = _experiment(client, artifacts)
        parent, added = _Study(client, experiment, runs[0]).log(runs, files)
    return {
        "tracking_uri": _public(uri),
        "experiment": experiment_name(),
        "run": parent,
        "runs": dict(Counter(logged.kind for logged in runs)),
        "added": added,
    }


class _Study:
    """The runs of a study in MLflow."""

    def __init__(self, client: MlflowClient, experiment: str, logged: LoggedRun):
        self._client, self._experiment, self._digest = client, experiment, logged.key
        self._study = str(logged.params["study"])
        self._runs: dict[tuple[str, str], Run] = {_identity(run.data.tags): run for run in self._found()}
        self._common = {_STUDY: self._study, _CONFIGS: self._digest, "mlflow.source.name": "shapprune"} | _revision()

    def log(self, runs: Sequence[LoggedRun], files: Mapping[str, Path]) -> tuple[str, int]:
        """Log what is missing; the id of the study's own run, and how many runs were added."""
        before = len(self._runs)
        parent = self._run(runs[0], {"mlflow.note.content": self._note()})
        for logged in runs[1:]:
            run = self._run(logged, {"mlflow.parentRunId": parent.info.run_id})
            if run.info.status != "FINISHED":
                self._fill(run, logged)
            if self._digest not in (configs := run.data.tags[_CONFIGS]):
                self._client.set_tag(run.info.run_id, _CONFIGS, f"{configs} {self._digest}")
        shown = digest([runs[0].metrics, {place: checksum(path, "md5") for place, path in files.items()}])
        if parent.data.tags.get(_SHOWN) != shown:
            for place, path in files.items():
                self._client.log_artifact(parent.info.run_id, str(path), os.path.dirname(place) or None)
            self._fill(parent, runs[0])
            self._client.set_tag(parent.info.run_id, _SHOWN, shown)
        return str(parent.info.run_id), len(self._runs) - before

    def _found(self) -> Iterator[Run]:
        token = None
        while token != "":
            chosen = f"tags.`{_STUDY}` = '{self._study}'"
            page = self._client.search_runs([self._experiment], chosen, max_results=1000, page_token=token)
            yield from page
            token = page.token or ""

    def _run(self, logged: LoggedRun, tags: Mapping[str, str]) -> Run:
        """The run in MLflow, made if there is none."""
        tags = {_NAME: logged.name, _KEY: logged.key, _KIND: logged.kind, **self._common, **logged.tags, **tags}
        if (identity := _identity(tags)) not in self._runs:
            start = round(1000 * (logged.finished - logged.seconds))
            self._runs[identity] = self._client.create_run(self._experiment, start, tags, logged.name)
        return self._runs[identity]

    def _fill(self, run: Run, logged: LoggedRun) -> None:
        """Log params, metrics and data, and end the run."""
        from mlflow.entities import Metric, Param

        run_id, when = run.info.run_id, round(1000 * logged.finished)
        metrics = [Metric(_name(name), value, when, step) for name, value, step in logged.metrics]
        params = [Param(_name(name), text[:6000]) for name, text in _flat(logged.params)]
        for start in range(0, max(len(metrics), 9 * len(params)), 900):  # a batch holds 100 params, 1000 in all
            end = start + 900
            self._client.log_batch(run_id, metrics[start:end], params[start // 9 : end // 9])
        if logged.data:
            self._client.log_inputs(run_id, [_dataset(facts) for facts in logged.data])
        self._client.set_terminated(run_id, "FINISHED", when)

    def _note(self) -> str:
        return (
            f"Study **{self._study}**, configuration {self._digest}. Figures and tables are among the artifacts.\n\n"
            "A result that several configurations share has its run where it was mirrored first. "
            f"This finds all of this one: ``tags.`{_CONFIGS}` LIKE '%{self._digest}%'``"
        )


# How MLflow wants it.


def _identity(tags: Mapping[str, str]) -> tuple[str, str]:
    return tags[_NAME], tags[_KEY]


def _name(name: str) -> str:
    """A name of a metric or param with the characters and the length that MLflow allows."""
    return re.sub(r"[^\w\-. :/]", "_", name)[:250]


def _flat(params: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in params.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value)


def _dataset(facts: Mapping[str, Any]) -> DatasetInput:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = json.dumps({"uri": f"results/data/{facts['name']}.npz"})
    profile = json.dumps({name: facts[name] for name in ("shape", "classes", "train", "test")})
    dataset = Dataset(facts["name"], facts["md5"], "local", source, profile=profile)
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])


def _experiment(client: MlflowClient, artifacts: str | None) -> str:
    """The id of the experiment, made if there is none."""
    from mlflow.exceptions import MlflowException

    name = experiment_name()
    if (found := client.get_experiment_by_name(name)) is None:
        try:
            return str(client.create_experiment(name, artifacts))
        except MlflowException:
            if (found := client.get_experiment_by_name(name)) is None:  # else another process was faster
                raise
    if found.lifecycle_stage == "deleted":
        raise MlflowException(f"experiment {name!r} was deleted; restore it or name another in MLFLOW_EXPERIMENT_NAME")
    return str(found.experiment_id)


def _revision() -> dict[str, str]:
    """The Git revision of the workflow, if it is a clone."""
    command = ["git", "-C", str(REPOSITORY), "rev-parse", "HEAD"]
    within = os.environ | {"GIT_CEILING_DIRECTORIES": str(REPOSITORY.parent)}  # a repository around it is another
    try:
        done = subprocess.run(command, env=within, capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {"mlflow.source.git.commit": done.stdout.strip()}


def _public(text: str) -> str:
    """A text without the users and passwords of the addresses in it."""
    return re.sub(r"//[^/\s]*@", "//", text)


@contextmanager
def _sentence(uri: str) -> Iterator[None]:
    """Make one sentence of whatever MLflow says."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError, ImportError) as error:
        cause: BaseException = error
        while deeper := cause.__cause__ or cause.__context__:
            cause = deeper
        reason = cause if isinstance(cause, OSError | ImportError) else error
        raise ShapPruneError(
            f"results could not be mirrored into MLflow at {uri} ({shorten(_public(str(reason)), 300)}); the study is"
            " complete without it, and the next run tries again"
        ) from error
