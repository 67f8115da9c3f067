"""The runs that a tracker logs of a finished study, kind by kind: of one result, of one table, of all tables.

Nothing here knows of a tracker, or imports torch.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from shapprune.workflow.stages.stage import game_options, method_of
from shapprune.workflow.store.keys import digest
from shapprune.workflow.store.store import Store

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
        kind: ``network``, ``scores``, ``coalitions``, ``estimator``, ``criterion``, ``compressed``, ``budget``,
            ``untrained``, or ``study`` for the parent of them.
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


def network_run(path: Path, facts: Mapping[str, Any], tables: Path, store: Store) -> LoggedRun:
    """The run of a trained network."""
    net, seed, parts = facts["net"], facts["seed"], facts["task"]["parts"]
    given = ("architecture", "options", "validation", "weights", "train")
    sizes = ("parameters", "macs", "validation_loss", "validation_accuracy", "test_loss", "test_accuracy")
    epochs = [row for row in read_rows(tables / "training.csv") if (row["net"], row["seed"]) == (net, str(seed))]
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
    errors = [
        (f"standard_error/{aggregate}", fmean(known), 0)
        for aggregate, each in facts["standard_error"].items()
        if (known := _known(each))  # one repetition has no error
    ]
    what = f"{facts['criterion']}/{facts['layer']}/trial{facts['trial']}"
    return LoggedRun(
        *("scores", _run_name(facts, what), facts["task"]["key"], path.stat().st_mtime),
        params={name: facts[name] for name in names},
        metrics=[*_values(facts, ("evaluations", "seconds", "peak_memory_mb")), *errors],
        tags=_tags(facts) | _record(facts, store),
        seconds=facts["seconds"],
    )


def _coalitions(path: Path, facts: Mapping[str, Any], store: Store) -> LoggedRun:
    return LoggedRun(
        *("coalitions", _run_name(facts, f"coalitions/{facts['layer']}"), facts["task"]["key"], path.stat().st_mtime),
        params={name: facts[name] for name in ("net", "seed", "layer", "units", "images", *_GAME)},
        metrics=_values(facts, ("evaluations", "peak_memory_mb")),
        tags=_tags(facts) | _record(facts, store),
    )


def _estimators(config: Mapping[str, Any], path: Path, facts: Mapping[str, Any]) -> Iterator[LoggedRun]:
    """How far each estimator is from the truth in a layer, means over its repetitions; steps are evaluations."""
    rows = list(read_rows(path.with_suffix(".csv")))
    for estimator, settings in config["estimators"]["compared"].items():
        values: dict[tuple[str, int], list[float]] = defaultdict(list)
        own = [row for row in rows if row["estimator"] == estimator]
        for row in own:
            for measure in _OF_ESTIMATORS:
                values[f"estimator_{measure}", round(float(row["evaluations"]))] += _known([row[measure]])
        names = {name: own[0][name] for name in ("net", "seed", "layer", "units", "truth", "estimator")}
        yield LoggedRun(
            *("estimator", _run_name(names, f"{estimator}/{names['layer']}")),
            *(_joint_key(facts, "estimator", estimator), path.stat().st_mtime),
            params={**names, **settings, "images": config["oracle"]["images"], **game_options(config)},
            metrics=[(name, fmean(each), step) for (name, step), each in values.items() if each],
        )


def criterion_runs(
    config: Mapping[str, Any],
    networks: Mapping[Path, Mapping[str, Any]],
    scores: Mapping[Path, Mapping[str, Any]],
    measured: Mapping[Path, Mapping[str, Any]],
    tables: Path,
) -> Iterator[LoggedRun]:
    """What the removal orders of each criterion and aggregate led to, means over the trials, and their cost."""
    points, scored = _points(tables), defaultdict(list)
    for facts in scores.values():
        scored[facts["net"], facts["seed"], facts["criterion"]].append(facts)
    keys, finished = _keys(measured)
    shared = {"images": config["scoring"]["images"], **game_options(config)}
    shared |= {f"{section}.images": config[section]["images"] for section in ("curves", "oracle", "low_data")}
    shared["low_data.scored_on"] = config["low_data"]["scored_on"]
    for network in networks.values():
        net, seed = network["net"], network["seed"]
        for criterion, settings in config["criteria"].items():
            trials = scored[net, seed, criterion]
            params = {"net": net, "seed": seed, "data": network["data"]["name"], "criterion": criterion}
            params |= {**method_of(settings), "trials": settings["trials"]}
            cost = {name: fmean(facts[name] for facts in trials) for name in ("evaluations", "seconds")}
            for aggregate in settings["aggregates"]:
                yield LoggedRun(
                    *("criterion", _run_name(network, f"{criterion}/{aggregate}")),
                    *(digest(keys[net, seed, criterion, aggregate]), finished[net, seed]),
                    params={**params, "aggregate": aggregate, **shared},
                    metrics=[*points[net, str(seed), criterion, aggregate], *_values(cost, cost)],
                    tags=_tags(trials[0]),
                )


def _compressed(path: Path, facts: Mapping[str, Any], store: Store) -> LoggedRun:
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


def _budget(path: Path, facts: Mapping[str, Any], store: Store) -> LoggedRun:
    what = f"{facts['method']}/{facts['measure']}{facts['budget']:.12g}/trial{facts['trial']}"
    names = ("net", "seed", "method", "measure", "budget", "images", "trial")
    sizes = ("macs", "parameters", "bytes", "milliseconds", "intact_macs")
    agreement = ("agreement", "agreement_low", "agreement_high", "test_agreement")
    cost = ("distil_steps", "distil_rate", "seconds", "peak_memory_mb")
    return LoggedRun(
        *("budget", _run_name(facts, what), facts["task"]["key"], path.stat().st_mtime),
        params={**facts["task"]["parts"], **{name: facts[name] for name in names}},
        metrics=_values(facts, (*sizes, *agreement, "loss", "accuracy", "intact_accuracy", *cost)),
        tags=_tags(facts) | _record(facts, store),
        seconds=facts["seconds"],
    )


def _untrained(config: Mapping[str, Any], path: Path, facts: Mapping[str, Any]) -> Iterator[LoggedRun]:
    """What is left of an untrained network, for each criterion."""
    section, rows = config["untrained"], list(read_rows(path.with_suffix(".csv")))
    for criterion in section["criteria"]:
        steps = [row for row in rows if row["criterion"] == criterion]
        names = {name: steps[0][name] for name in ("net", "seed", "criterion", "aggregate")}
        settings, network = config["criteria"][criterion], section["networks"][names["net"]]
        yield LoggedRun(
            *("untrained", _run_name(names, criterion)),
            *(_joint_key(facts, "criterion", criterion), path.stat().st_mtime),
            params={**names, **network, **method_of(settings), "images": section["images"], **game_options(config)},
            metrics=[
                (f"untrained_{column}", value, int(row["step"]))
                for row in steps
                for column in ("loss", "accuracy", "parameters", "macs")
                for value in _known([row[column]])
            ],
        )


# Kind -> how a run is made of one result: of its manifest's path, what that tells, and the store.
OF_A_RESULT: dict[str, Callable[[Path, Mapping[str, Any], Store], LoggedRun]] = {
    "scores": _scores,
    "coalitions": _coalitions,
    "compressed": _compressed,
    "budget": _budget,
}
# Kind -> how runs are made of one table: of the configuration, its manifest's path, and what that tells.
OF_A_TABLE: dict[str, Callable[[Mapping[str, Any], Path, Mapping[str, Any]], Iterator[LoggedRun]]] = {
    "estimator": _estimators,
    "untrained": _untrained,
}


def _joint_key(manifest: Mapping[str, Any], name: str, value: str) -> str:
    """One key for those tasks of a table that have a name of this value, e.g. those of one criterion."""
    made_of = manifest["made_of"].items()
    return digest({label: task["key"] for label, task in made_of if task["names"][name] == value})


def _keys(
    measured: Mapping[Path, Mapping[str, Any]],
) -> tuple[dict[tuple[Any, ...], list[str]], dict[tuple[Any, ...], float]]:
    """Net, seed, criterion and aggregate -> the keys of all that was measured; net and seed -> when that was done."""
    keys: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    finished: dict[tuple[Any, ...], float] = defaultdict(float)
    for path, manifest in measured.items():
        for task in manifest["made_of"].values():
            run = tuple(task["names"][name] for name in ("net", "seed"))
            keys[*run, task["names"]["criterion"], task["names"]["aggregate"]].append(task["key"])
            finished[run] = max(finished[run], path.stat().st_mtime)
    return keys, finished


def _points(tables: Path) -> dict[tuple[str, ...], list[Point]]:
    """Net, seed, criterion and aggregate -> the points of all curves, means over the trials."""
    values: dict[tuple[str, ...], dict[tuple[str, int], list[float]]] = defaultdict(lambda: defaultdict(list))
    for table, place, step, metrics in _CURVES:
        for row in read_rows(tables / f"{table}.csv"):
            order = values[row["net"], row["seed"], row["criterion"], row["aggregate"]]
            for metric, column in metrics.items():
                # Points of all layers, and of networks that were not repaired, are named as if there were no others.
                name = f"{metric}{place.format_map(row)}".removesuffix("/all").removesuffix("/none")
                order[name, int(row[step]) if step else 0] += _known([row[column]])
    means = {order: [(*at, fmean(each)) for at, each in found.items() if each] for order, found in values.items()}
    return {order: [(name, value, step) for name, step, value in found] for order, found in means.items()}


# What they share.


def _run_name(facts: Mapping[str, Any], what: str = "") -> str:
    return f"{what} {facts['net']}/seed{facts['seed']}".lstrip()


def _epochs(history: Iterable[Mapping[str, Any]]) -> Iterator[Point]:
    """The points of a training, epoch by epoch."""
    for row in history:
        for name in ("lr", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy"):
            yield from ((f"epoch/{name}", value, int(row["epoch"])) for value in _known([row[name]]))


def read_rows(path: Path, delimiter: str = ",") -> Iterator[dict[str, str]]:
    """The rows of a table."""
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file, delimiter=delimiter)


def _known(values: Iterable[str | float | None]) -> list[float]:
    """Those of some values that there are: a table has nothing where there is none, a manifest null."""
    return [float(each) for each in values if each is not None and each != ""]


def _values(facts: Mapping[str, Any], names: Iterable[str]) -> list[Point]:
    return [(name, value, 0) for name in names for value in _known([facts.get(name)])]


def _tags(facts: Mapping[str, Any]) -> dict[str, str]:
    versions = {f"shapprune.versions.{name}": version for name, version in facts["versions"].items()}
    return {"shapprune.device": facts["device"], **versions}


def _record(facts: Mapping[str, Any], store: Store) -> dict[str, str]:
    return {"shapprune.store": str(store.folder(facts["task"]["key"]))}
