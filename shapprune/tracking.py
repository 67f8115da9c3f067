"""Finished results, mirrored into MLflow. The files are the truth: deleting the mirror loses nothing.

A study is a parent run for each of its configurations, with a child run for each network, scoring, coalition table and
criterion. A run has the name and the key of its result as tags, and what is there under both is not logged again.
Nothing here imports torch, and MLflow is imported when something is mirrored.
"""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from shapprune import config as study
from shapprune.criteria.catalog import options_of
from shapprune.errors import ShapPruneError
from shapprune.files import checksum, read_json
from shapprune.keys import digest
from shapprune.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Run

Point = tuple[str, float, int]  # a metric's name, its value and the step

_REPOSITORY = Path(__file__).resolve().parents[1]
# Tags of runs. A result that several configurations share has one run, which names them all.
_NAME, _KEY, _KIND, _STUDY, _CONFIGS, _SHOWN = (
    f"shapprune.{name}" for name in ("name", "key", "kind", "study", "configs", "shown")
)
_GAME = ("site", "payoff", "precision")
# What is logged of a removal order: a table, the place and the column of the step in it, and metric -> column.
_CURVES = (
    ("auc", "/{layer}", None, {"auc_loss": "auc_loss", "auc_accuracy": "auc_accuracy"}),
    ("curves", "/{layer}", "removed", {"removal_loss": "loss", "removal_accuracy": "accuracy"}),
    ("oracle", "/{layer}", "size", {"oracle_gap": "gap", "oracle_overlap": "cumulative_overlap"}),
    (
        *("low_data", "/ratio{ratio}", "step"),
        {f"low_data_{column}": column for column in ("loss", "accuracy", "parameters", "macs")},
    ),
)


@dataclass
class Record:
    """What is logged as one run.

    Attributes:
        kind: ``network``, ``scores``, ``coalitions``, ``criterion``, or ``study`` for the parent of them.
        name: of the run.
        key: of the result; of a criterion, one for all that was measured of it; of a study, the configuration's digest.
        finished: when the result was written, in seconds since 1970.
        params: by name; nested mappings become dotted names.
        metrics: the points.
        tags: further ones.
        seconds: how long the result took.
        data: facts of the data sets (`shapprune.data.write_prepared`).
    """

    kind: str
    name: str
    key: str
    finished: float
    params: Mapping[str, Any]
    metrics: Sequence[Point] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    data: Sequence[Mapping[str, Any]] = ()


def server() -> str | None:
    """Where ``MLFLOW_TRACKING_URI`` points, without user and password; None where it is not set."""
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    return _public(uri) if uri else None


def experiment_name() -> str:
    """The name of the experiment: `shapprune`, unless ``MLFLOW_EXPERIMENT_NAME`` says otherwise."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or "shapprune"


def collect(
    config: Mapping[str, Any],
    networks: Iterable[str],
    scores: Iterable[str],
    coalitions: Iterable[str],
    measured: Iterable[str],
    tables: Path,
) -> list[Record]:
    """What there is to log of a finished study, the study itself first.

    Args:
        config: the configuration as it was used.
        networks: the manifests of the trained networks.
        scores: the folders of scores.
        coalitions: the manifests of coalition tables.
        measured: removal curves, overlaps with oracle sets and low-data evaluations, with manifests beside them.
        tables: the folder of the study's tables.

    Raises:
        ShapPruneError: a manifest is missing or damaged.
    """
    store = Store(config["store"])
    trained = {Path(path): read_json(path) for path in networks}
    scored = {path: read_json(path) for folder in scores for path in sorted(Path(folder).rglob("trial*.json"))}
    data = {facts["data"]["name"]: facts["data"] for facts in trained.values()}
    records = [
        *(_network(path, facts, tables, store) for path, facts in trained.items()),
        *(_scores(path, facts, store) for path, facts in scored.items()),
        *(_coalitions(Path(path), store) for path in coalitions),
        *_criteria(config, trained, scored.values(), [Path(path).with_suffix(".json") for path in measured], tables),
    ]
    name, key = config["study"], study.digest(config)
    return [
        Record("study", f"{name} {key}", key, time.time(), config, _headlines(records), data=[*data.values()]),
        *records,
    ]


def mirror(records: Sequence[Record], files: Mapping[str, Path], folder: Path) -> dict[str, Any]:
    """Log the records that are not in MLflow yet, and the study's files where they have changed.

    Args:
        records: those of a study, the study itself first.
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
        parent, added = _Study(client, experiment, records[0]).log(records, files)
    return {
        "tracking_uri": _public(uri),
        "experiment": experiment_name(),
        "run": parent,
        "runs": dict(Counter(record.kind for record in records)),
        "added": added,
    }


class _Study:
    """The runs of a study in MLflow."""

    def __init__(self, client: MlflowClient, experiment: str, record: Record):
        self._client, self._experiment, self._digest = client, experiment, record.key
        self._study = str(record.params["study"])
        self._runs: dict[tuple[str, str], Run] = {_identity(run.data.tags): run for run in self._found()}
        self._common = {_STUDY: self._study, _CONFIGS: self._digest, "mlflow.source.name": "shapprune"} | _revision()

    def log(self, records: Sequence[Record], files: Mapping[str, Path]) -> tuple[str, int]:
        """Log what is missing; the id of the study's own run, and how many runs were added."""
        before = len(self._runs)
        parent = self._run(records[0], {"mlflow.note.content": self._note()})
        for record in records[1:]:
            run = self._run(record, {"mlflow.parentRunId": parent.info.run_id})
            if run.info.status != "FINISHED":
                self._fill(run, record)
            if self._digest not in (configs := run.data.tags[_CONFIGS]):
                self._client.set_tag(run.info.run_id, _CONFIGS, f"{configs} {self._digest}")
        shown = digest([records[0].metrics, {place: checksum(path, "md5") for place, path in files.items()}])
        if parent.data.tags.get(_SHOWN) != shown:
            for place, path in files.items():
                self._client.log_artifact(parent.info.run_id, str(path), os.path.dirname(place) or None)
            self._fill(parent, records[0])
            self._client.set_tag(parent.info.run_id, _SHOWN, shown)
        return str(parent.info.run_id), len(self._runs) - before

    def _found(self) -> Iterator[Run]:
        token = None
        while token != "":
            chosen = f"tags.`{_STUDY}` = '{self._study}'"
            page = self._client.search_runs([self._experiment], chosen, max_results=1000, page_token=token)
            yield from page
            token = page.token or ""

    def _run(self, record: Record, tags: Mapping[str, str]) -> Run:
        """The run of a record, made if there is none."""
        tags = {_NAME: record.name, _KEY: record.key, _KIND: record.kind, **self._common, **record.tags, **tags}
        if (identity := _identity(tags)) not in self._runs:
            start = round(1000 * (record.finished - record.seconds))
            self._runs[identity] = self._client.create_run(self._experiment, start, tags, record.name)
        return self._runs[identity]

    def _fill(self, run: Run, record: Record) -> None:
        """Log params, metrics and data, and end the run."""
        from mlflow.entities import Metric, Param

        run_id, when = run.info.run_id, round(1000 * record.finished)
        metrics = [Metric(_name(name), value, when, step) for name, value, step in record.metrics]
        params = [Param(_name(name), text[:6000]) for name, text in _flat(record.params)]
        for start in range(0, max(len(metrics), 9 * len(params)), 900):  # a batch holds 100 params, 1000 in all
            end = start + 900
            self._client.log_batch(run_id, metrics[start:end], params[start // 9 : end // 9])
        if record.data:
            self._client.log_inputs(run_id, [_dataset(facts) for facts in record.data])
        self._client.set_terminated(run_id, "FINISHED", when)

    def _note(self) -> str:
        return (
            f"Study **{self._study}**, configuration {self._digest}. Figures and tables are among the artifacts.\n\n"
            "A result that several configurations share has its run where it was mirrored first. "
            f"This finds all of this one: ``tags.`{_CONFIGS}` LIKE '%{self._digest}%'``"
        )


# The records of each kind.


def _network(path: Path, facts: Mapping[str, Any], tables: Path, store: Store) -> Record:
    net, seed, parts = facts["net"], facts["seed"], facts["unit"]["parts"]
    given = ("architecture", "options", "validation", "weights", "train")
    sizes = ("parameters", "macs", "validation_loss", "validation_accuracy", "test_loss", "test_accuracy")
    columns = ("lr", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy")
    epochs = [row for row in _rows(tables / "training.csv") if (row["net"], row["seed"]) == (net, str(seed))]
    seconds = sum(float(row["seconds"]) for row in epochs)
    return Record(
        *("network", _run_name(facts), facts["unit"]["key"], path.stat().st_mtime),
        params={"net": net, "seed": seed, "data": facts["data"]["name"]}
        | {name: parts[name] for name in given if name in parts},
        metrics=[
            *_values(facts, (*sizes, "peak_memory_mb")),
            ("seconds", seconds, 0),
            *((f"epoch/{name}", _number(row[name]), int(row["epoch"])) for row in epochs for name in columns),
        ],
        tags=_tags(facts) | _entry(facts, store),
        seconds=seconds,
        data=[facts["data"]],
    )


def _scores(path: Path, facts: Mapping[str, Any], store: Store) -> Record:
    names = ("net", "seed", "layer", "units", "criterion", "method", "options", "trial", "images", *_GAME)
    errors = [(f"standard_error/{aggregate}", fmean(each), 0) for aggregate, each in facts["standard_error"].items()]
    what = f"{facts['criterion']}/{facts['layer']}/trial{facts['trial']}"
    return Record(
        *("scores", _run_name(facts, what), facts["unit"]["key"], path.stat().st_mtime),
        params={name: facts[name] for name in names},
        metrics=[*_values(facts, ("evaluations", "seconds", "peak_memory_mb")), *errors],
        tags=_tags(facts) | _entry(facts, store),
        seconds=facts["seconds"],
    )


def _coalitions(path: Path, store: Store) -> Record:
    facts = read_json(path)
    return Record(
        *("coalitions", _run_name(facts, f"coalitions/{facts['layer']}"), facts["unit"]["key"], path.stat().st_mtime),
        params={name: facts[name] for name in ("net", "seed", "layer", "units", "images", *_GAME)},
        metrics=_values(facts, ("evaluations", "peak_memory_mb")),
        tags=_tags(facts) | _entry(facts, store),
    )


def _criteria(
    config: Mapping[str, Any],
    networks: Mapping[Path, Mapping[str, Any]],
    scores: Iterable[Mapping[str, Any]],
    measured: Sequence[Path],
    tables: Path,
) -> Iterator[Record]:
    """What the removal orders of each criterion and aggregate led to, means over the trials, and their cost."""
    points, scored = _points(tables), defaultdict(list)
    for facts in scores:
        scored[facts["net"], facts["seed"], facts["criterion"]].append(facts)
    shared = {name: config["scoring"][name] for name in ("images", *_GAME)}
    shared |= {f"{section}.images": config[section]["images"] for section in ("curves", "oracle", "low_data")}
    for path, network in networks.items():
        net, seed = network["net"], network["seed"]
        manifests = [manifest for manifest in measured if path.parent in manifest.parents]
        finished = max(manifest.stat().st_mtime for manifest in manifests)
        keys = _keys(manifests)
        for criterion, entry in config["criteria"].items():
            trials = scored[net, seed, criterion]
            params = {"net": net, "seed": seed, "data": network["data"]["name"], "criterion": criterion}
            params |= {"method": entry["method"], "options": options_of(entry), "trials": entry["trials"]}
            cost = {name: sum(facts[name] for facts in trials) / entry["trials"] for name in ("evaluations", "seconds")}
            for aggregate in entry["aggregates"]:
                yield Record(
                    *("criterion", _run_name(network, f"{criterion}/{aggregate}")),
                    *(digest(keys[criterion, aggregate]), finished),
                    params={**params, "aggregate": aggregate, **shared},
                    metrics=[*points[net, str(seed), criterion, aggregate], *_values(cost, cost)],
                    tags=_tags(trials[0]),
                )


def _headlines(records: Iterable[Record]) -> list[Point]:
    """What studies are compared by, means over the seeds."""
    values = defaultdict(list)
    for record in records:
        of = [record.params[name] for name in ("net", "criterion", "aggregate") if name in record.params]
        for name, value, _ in record.metrics:
            if name in ("test_accuracy", "auc_loss", "auc_accuracy"):
                values["/".join([name, *of])].append(value)
    return [(name, fmean(each), 0) for name, each in values.items()]


def _keys(manifests: Iterable[Path]) -> dict[tuple[str, str], dict[str, str]]:
    """Criterion and aggregate -> the keys of all that was measured of them."""
    keys: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for manifest in manifests:
        for label, unit in read_json(manifest)["made_of"].items():
            criterion, _, rest = label.partition("/")
            keys[criterion, rest.partition("/")[0]][f"{manifest.stem}/{label}"] = unit["key"]
    return keys


def _points(tables: Path) -> dict[tuple[str, ...], list[Point]]:
    """Net, seed, criterion and aggregate -> the points of all curves, means over the trials."""
    values: dict[tuple[str, ...], dict[tuple[str, int], list[float]]] = defaultdict(lambda: defaultdict(list))
    for table, place, step, metrics in _CURVES:
        for row in _rows(tables / f"{table}.csv"):
            of = values[row["net"], row["seed"], row["criterion"], row["aggregate"]]
            for metric, column in metrics.items():
                name = f"{metric}{place.format_map(row)}".removesuffix("/all")
                of[name, int(row[step]) if step else 0].append(_number(row[column]))
    means = {order: [(*at, fmean(each)) for at, each in found.items()] for order, found in values.items()}
    return {order: [(name, value, step) for name, step, value in found] for order, found in means.items()}


# What they share.


def _run_name(facts: Mapping[str, Any], what: str = "") -> str:
    return f"{what} {facts['net']}/seed{facts['seed']}".lstrip()


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def _number(text: str) -> float:
    return float(text or "nan")


def _values(facts: Mapping[str, Any], names: Iterable[str]) -> list[Point]:
    return [(name, float(facts[name]), 0) for name in names if facts.get(name) is not None]


def _tags(facts: Mapping[str, Any]) -> dict[str, str]:
    versions = {f"shapprune.versions.{name}": version for name, version in facts["versions"].items()}
    return {"shapprune.device": facts["device"], **versions}


def _entry(facts: Mapping[str, Any], store: Store) -> dict[str, str]:
    return {"shapprune.store": str(store.folder(facts["unit"]["key"]))}


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
    command = ["git", "-C", str(_REPOSITORY), "rev-parse", "HEAD"]
    within = os.environ | {"GIT_CEILING_DIRECTORIES": str(_REPOSITORY.parent)}  # a repository around it is another
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
