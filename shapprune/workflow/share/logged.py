"""What there is to log of a finished study, from its manifests and tables, run by run.

A study is a parent with a child for each network, scoring, coalition table and criterion, and for each network that was
compressed or never trained. Nothing here knows of a tracker, or imports torch.
"""

from __future__ import annotations

import csv
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from shapprune.core.files import read_json
from shapprune.criteria.catalog import options_of
from shapprune.workflow.store.keys import digest
from shapprune.workflow.store.store import Store
from shapprune.workflow.study import config as study

Point = tuple[str, float, int]  # a metric's name, its value and the step

_GAME = ("site", "payoff", "precision")
_OF_ESTIMATORS = ("seconds", "spearman", "kendall", "mse_ratio", "bottom25_overlap", "auc_loss", "gap")
# What is logged of a removal order: a table, the place and the column of the step in it, and metric -> column.
_CURVES = (
    ("auc", "/{layer}", None, {"auc_loss": "auc_loss", "auc_accuracy": "auc_accuracy"}),
    ("curves", "/{layer}", "removed", {"removal_loss": "loss", "removal_accuracy": "accuracy"}),
    ("oracle", "/{layer}", "size", {"oracle_gap": "gap", "oracle_overlap": "cumulative_overlap"}),
    (
        *("low_data", "/ratio{ratio}/{repair}", "step"),
        {f"low_data_{column}": column for column in ("loss", "accuracy", "parameters", "macs")},
    ),
    (
        *("fine_tune", "/ratio{ratio}/images_{images}", None),
        {f"fine_tune_{column}": column for column in ("loss", "accuracy", "epochs")},
    ),
)


@dataclass
class LoggedRun:
    """What a tracker logs as one run.

    Attributes:
        kind: ``network``, ``scores``, ``coalitions``, ``estimator``, ``criterion``, ``compressed``, ``untrained``, or
            ``study`` for the parent of them.
        name: of the run.
        key: of the result; of a criterion, one for all that was measured of it; of a study, the configuration's digest.
        finished: when the result was written, in seconds since 1970.
        params: by name; nested mappings become dotted names.
        metrics: the points.
        tags: further ones.
        seconds: how long the result took; of a study, how long at least one of its jobs was at work.
        data: facts of the data sets (`shapprune.data.prepared.write_prepared`).
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


def collect(
    config: Mapping[str, Any],
    networks: Iterable[str],
    scores: Iterable[str],
    coalitions: Iterable[str],
    estimators: Iterable[str],
    measured: Iterable[str],
    compressed: Iterable[str],
    untrained: Iterable[str],
    tables: Path,
    benchmarks: Path,
    headline: Iterable[tuple[str, float]],
) -> list[LoggedRun]:
    """What there is to log of a finished study, the study itself first.

    Args:
        config: the configuration as it was used.
        networks: the manifests of the trained networks.
        scores: the folders of scores.
        coalitions: the manifests of coalition tables.
        estimators: the tables of estimators against the truth, with manifests beside them.
        measured: removal curves, overlaps with oracle sets, low-data evaluations and what fine-tuning made of the
            networks, with manifests beside them.
        compressed: the folders of compressed networks.
        untrained: the tables of untrained networks, with manifests beside them.
        tables: the folder of the study's tables.
        benchmarks: the folder of Snakemake's benchmarks, a file a job.
        headline: metrics of the study's own run (`shapprune.workflow.share.headlines.points`).

    Raises:
        ShapPruneError: a manifest is missing or damaged.
    """
    store = Store(config["store"])
    trained = {Path(path): read_json(path) for path in networks}
    scored = {path: read_json(path) for folder in scores for path in sorted(Path(folder).rglob("trial*.json"))}
    data = {facts["data"]["name"]: facts["data"] for facts in trained.values()}
    runs = [
        *(_network(path, facts, tables, store) for path, facts in trained.items()),
        *(_scores(path, facts, store) for path, facts in scored.items()),
        *(_coalitions(Path(path), store) for path in coalitions),
        *(run for path in estimators for run in _estimators(config, Path(path))),
        *_criteria(config, trained, scored.values(), [Path(path).with_suffix(".json") for path in measured], tables),
        *(_compressed(path, store) for folder in compressed for path in sorted(Path(folder).rglob("*.json"))),
        *(run for path in untrained for run in _untrained(config, Path(path))),
    ]
    name, key = config["study"], study.digest(config)
    finished, seconds = _worked(benchmarks)
    metrics = [*((metric, value, 0) for metric, value in headline), ("seconds", seconds, 0), *_means(runs)]
    return [
        LoggedRun(*("study", f"{name} {key}", key, finished, config, metrics), seconds=seconds, data=[*data.values()]),
        *runs,
    ]


# The runs of each kind.


def _network(path: Path, facts: Mapping[str, Any], tables: Path, store: Store) -> LoggedRun:
    net, seed, parts = facts["net"], facts["seed"], facts["task"]["parts"]
    given = ("architecture", "options", "validation", "weights", "train")
    sizes = ("parameters", "macs", "validation_loss", "validation_accuracy", "test_loss", "test_accuracy")
    epochs = [row for row in _rows(tables / "training.csv") if (row["net"], row["seed"]) == (net, str(seed))]
    seconds = sum(float(row["seconds"]) for row in epochs)
    return LoggedRun(
        *("network", _run_name(facts), facts["task"]["key"], path.stat().st_mtime),
        params={"net": net, "seed": seed, "data": facts["data"]["name"]}
        | {name: parts[name] for name in given if name in parts},
        metrics=[
            *_values(facts, (*sizes, "peak_memory_mb")),
            ("seconds", seconds, 0),
            *_epochs(epochs),
        ],
        tags=_tags(facts) | _record(facts, store),
        seconds=seconds,
        data=[facts["data"]],
    )


def _scores(path: Path, facts: Mapping[str, Any], store: Store) -> LoggedRun:
    names = ("net", "seed", "layer", "units", "criterion", "method", "options", "trial", "images", *_GAME)
    errors = [(f"standard_error/{aggregate}", fmean(each), 0) for aggregate, each in facts["standard_error"].items()]
    what = f"{facts['criterion']}/{facts['layer']}/trial{facts['trial']}"
    return LoggedRun(
        *("scores", _run_name(facts, what), facts["task"]["key"], path.stat().st_mtime),
        params={name: facts[name] for name in names},
        metrics=[*_values(facts, ("evaluations", "seconds", "peak_memory_mb")), *errors],
        tags=_tags(facts) | _record(facts, store),
        seconds=facts["seconds"],
    )


def _coalitions(path: Path, store: Store) -> LoggedRun:
    facts = read_json(path)
    return LoggedRun(
        *("coalitions", _run_name(facts, f"coalitions/{facts['layer']}"), facts["task"]["key"], path.stat().st_mtime),
        params={name: facts[name] for name in ("net", "seed", "layer", "units", "images", *_GAME)},
        metrics=_values(facts, ("evaluations", "peak_memory_mb")),
        tags=_tags(facts) | _record(facts, store),
    )


def _estimators(config: Mapping[str, Any], path: Path) -> Iterator[LoggedRun]:
    """How far each estimator is from the truth in a layer, means over its repetitions; steps are evaluations."""
    manifest = path.with_suffix(".json")
    keys, rows = read_json(manifest)["made_of"], list(_rows(path))
    for estimator, entry in config["estimators"]["compared"].items():
        values: dict[tuple[str, int], list[float]] = defaultdict(list)
        own = [row for row in rows if row["estimator"] == estimator]
        for row in own:
            for measure in _OF_ESTIMATORS:
                if row[measure] != "":
                    values[f"estimator_{measure}", round(float(row["evaluations"]))].append(float(row[measure]))
        names = {name: own[0][name] for name in ("net", "seed", "layer", "units", "truth", "estimator")}
        yield LoggedRun(
            *("estimator", _run_name(names, f"{estimator}/{names['layer']}")),
            digest({label: task["key"] for label, task in keys.items() if label.startswith(f"{estimator}/")}),
            manifest.stat().st_mtime,
            params={**names, **entry, "images": config["oracle"]["images"]}
            | {name: config["scoring"][name] for name in _GAME},
            metrics=[(name, fmean(each), step) for (name, step), each in values.items()],
        )


def _criteria(
    config: Mapping[str, Any],
    networks: Mapping[Path, Mapping[str, Any]],
    scores: Iterable[Mapping[str, Any]],
    measured: Sequence[Path],
    tables: Path,
) -> Iterator[LoggedRun]:
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
                yield LoggedRun(
                    *("criterion", _run_name(network, f"{criterion}/{aggregate}")),
                    *(digest(keys[criterion, aggregate]), finished),
                    params={**params, "aggregate": aggregate, **shared},
                    metrics=[*points[net, str(seed), criterion, aggregate], *_values(cost, cost)],
                    tags=_tags(trials[0]),
                )


def _compressed(path: Path, store: Store) -> LoggedRun:
    facts = read_json(path)
    parts = facts["task"]["parts"]
    names = ("net", "seed", "criterion", "aggregate", "target")
    sizes = ("parameters", "macs", "loss_before", "accuracy_before", "validation_loss", "validation_accuracy")
    return LoggedRun(
        *("compressed", _run_name(facts, f"{facts['criterion']}/{facts['aggregate']}/{facts['target']}")),
        *(facts["task"]["key"], path.stat().st_mtime),
        params={**{name: facts[name] for name in names}, "to": parts["to"], "train": parts["train"]},
        metrics=[*_values(facts, (*sizes, "loss", "accuracy", "epochs", "peak_memory_mb")), *_epochs(facts["history"])],
        tags=_tags(facts) | _record(facts, store),
        seconds=sum(row["seconds"] for row in facts["history"]),
    )


def _untrained(config: Mapping[str, Any], path: Path) -> Iterator[LoggedRun]:
    """What is left of an untrained network, for each criterion."""
    manifest = path.with_suffix(".json")
    keys, asked = read_json(manifest)["made_of"], config["untrained"]
    rows = list(_rows(path))
    for criterion in asked["criteria"]:
        steps = [row for row in rows if row["criterion"] == criterion]
        names = {name: steps[0][name] for name in ("net", "seed", "criterion", "aggregate")}
        entry, network = config["criteria"][criterion], asked["networks"][names["net"]]
        own = {label: task["key"] for label, task in keys.items() if label.startswith(f"{criterion}/")}
        yield LoggedRun(
            *("untrained", _run_name(names, criterion), digest(own), manifest.stat().st_mtime),
            params={**names, **network, "method": entry["method"], "options": options_of(entry)}
            | {"images": asked["images"], **{name: config["scoring"][name] for name in _GAME}},
            metrics=[
                (f"untrained_{column}", _number(row[column]), int(row["step"]))
                for row in steps
                for column in ("loss", "accuracy", "parameters", "macs")
            ],
        )


def _means(runs: Iterable[LoggedRun]) -> list[Point]:
    """What studies are compared by, means over the seeds."""
    values = defaultdict(list)
    for run in runs:
        of = [run.params[name] for name in ("net", "criterion", "aggregate") if name in run.params]
        for name, value, _ in run.metrics:
            if name in ("test_accuracy", "auc_loss", "auc_accuracy"):
                values["/".join([name, *of])].append(value)
    return [(name, fmean(each), 0) for name, each in values.items()]


def _worked(benchmarks: Path) -> tuple[float, float]:
    """When the last job ended, and for how many seconds at least one was at work.

    Jobs at the same time count once and pauses do not count. A job that restored its results counts for as long as that
    took.
    """
    spans = []
    for path in benchmarks.rglob("*.tsv"):
        (row,) = _rows(path, delimiter="\t")
        end = path.stat().st_mtime  # written when the job ends
        spans.append((end - float(row["s"]), end))
    seconds, finished = 0.0, 0.0
    for start, end in sorted(spans):
        seconds += max(0.0, end - max(start, finished))
        finished = max(finished, end)
    return finished or time.time(), seconds


def _keys(manifests: Iterable[Path]) -> dict[tuple[str, str], dict[str, str]]:
    """Criterion and aggregate -> the keys of all that was measured of them."""
    keys: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for manifest in manifests:
        for label, task in read_json(manifest)["made_of"].items():
            criterion, _, rest = label.partition("/")
            keys[criterion, rest.partition("/")[0]][f"{manifest.stem}/{label}"] = task["key"]
    return keys


def _points(tables: Path) -> dict[tuple[str, ...], list[Point]]:
    """Net, seed, criterion and aggregate -> the points of all curves, means over the trials."""
    values: dict[tuple[str, ...], dict[tuple[str, int], list[float]]] = defaultdict(lambda: defaultdict(list))
    for table, place, step, metrics in _CURVES:
        for row in _rows(tables / f"{table}.csv"):
            of = values[row["net"], row["seed"], row["criterion"], row["aggregate"]]
            for metric, column in metrics.items():
                # Points of all layers, and of networks that were not repaired, are named as if there were no others.
                name = f"{metric}{place.format_map(row)}".removesuffix("/all").removesuffix("/none")
                of[name, int(row[step]) if step else 0].append(_number(row[column]))
    means = {order: [(*at, fmean(each)) for at, each in found.items()] for order, found in values.items()}
    return {order: [(name, value, step) for name, step, value in found] for order, found in means.items()}


# What they share.


def _run_name(facts: Mapping[str, Any], what: str = "") -> str:
    return f"{what} {facts['net']}/seed{facts['seed']}".lstrip()


def _epochs(history: Iterable[Mapping[str, Any]]) -> Iterator[Point]:
    """The points of a training, epoch by epoch."""
    for row in history:
        for name in ("lr", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy"):
            yield f"epoch/{name}", _number(row[name]), int(row["epoch"])


def _rows(path: Path, delimiter: str = ",") -> Iterator[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file, delimiter=delimiter)


def _number(text: str | float) -> float:
    return float("nan" if text == "" else text)


def _values(facts: Mapping[str, Any], names: Iterable[str]) -> list[Point]:
    return [(name, float(facts[name]), 0) for name in names if facts.get(name) is not None]


def _tags(facts: Mapping[str, Any]) -> dict[str, str]:
    versions = {f"shapprune.versions.{name}": version for name, version in facts["versions"].items()}
    return {"shapprune.device": facts["device"], **versions}


def _record(facts: Mapping[str, Any], store: Store) -> dict[str, str]:
    return {"shapprune.store": str(store.folder(facts["task"]["key"]))}
