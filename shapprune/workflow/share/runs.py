"""The runs that a tracker logs of a finished study, kind by kind: of one result, of one table, of all tables.

Nothing here knows of a tracker, or imports torch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from shapprune.workflow.share.logged_run import (
    LoggedRun,
    Point,
    epoch_points,
    known,
    read_rows,
    record_of,
    run_name,
    tags_of,
    values_of,
)
from shapprune.workflow.share.smaller_networks import budget_run, compressed_run, quantised_run, retrained_run
from shapprune.workflow.stages.stage import game_options, method_of
from shapprune.workflow.store.keys import digest
from shapprune.workflow.store.store import Store

_GAME = ("site", "payoff", "precision")
_OF_ESTIMATORS = ("seconds", "spearman", "kendall", "mse_ratio", "bottom25_overlap", "auc_loss", "gap")
_BEFORE_AND_AFTER = ("loss_before", "accuracy_before", "loss", "accuracy")
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
    (
        *("deactivated", "/share{share}", None),
        {f"deactivated_{column}": column for column in ("loss", "accuracy", "test_agreement")},
    ),
)


def network_run(path: Path, facts: Mapping[str, Any], tables: Path, store: Store) -> LoggedRun:
    """The run of a trained network."""
    net, seed, parts = facts["net"], facts["seed"], facts["task"]["parts"]
    given = ("architecture", "options", "validation", "weights", "train")
    sizes = ("parameters", "macs", "validation_loss", "validation_accuracy", "test_loss", "test_accuracy")
    epochs = [row for row in read_rows(tables / "training.csv") if (row["net"], row["seed"]) == (net, str(seed))]
    seconds = sum(float(row["seconds"]) for row in epochs)
    return LoggedRun(
        *("network", run_name(facts), facts["task"]["key"], path.stat().st_mtime),
        params={"net": net, "seed": seed, "data": facts["data"]["name"]}
        | {name: parts[name] for name in given if name in parts},
        metrics=[
            *values_of(facts, (*sizes, "peak_memory_mb")),
            ("seconds", seconds, 0),
            *epoch_points(epochs),
        ],
        tags=tags_of(facts) | record_of(facts, store),
        seconds=seconds,
        data=[facts["data"]],
    )


def _scores(path: Path, facts: Mapping[str, Any], store: Store) -> LoggedRun:
    names = ("net", "seed", "layer", "units", "criterion", "method", "options", "trial", "images", *_GAME)
    errors = [
        (f"standard_error/{aggregate}", fmean(errors_of_units), 0)
        for aggregate, each in facts["standard_error"].items()
        if (errors_of_units := known(each))  # one repetition has no error
    ]
    what = f"{facts['criterion']}/{facts['layer']}/trial{facts['trial']}"
    return LoggedRun(
        *("scores", run_name(facts, what), facts["task"]["key"], path.stat().st_mtime),
        params={name: facts[name] for name in names},
        metrics=[*values_of(facts, ("evaluations", "seconds", "peak_memory_mb")), *errors],
        tags=tags_of(facts) | record_of(facts, store),
        seconds=facts["seconds"],
    )


def _coalitions(path: Path, facts: Mapping[str, Any], store: Store) -> LoggedRun:
    return LoggedRun(
        *("coalitions", run_name(facts, f"coalitions/{facts['layer']}"), facts["task"]["key"], path.stat().st_mtime),
        params={name: facts[name] for name in ("net", "seed", "layer", "units", "images", *_GAME)},
        metrics=values_of(facts, ("evaluations", "peak_memory_mb")),
        tags=tags_of(facts) | record_of(facts, store),
    )


def _estimators(config: Mapping[str, Any], path: Path, facts: Mapping[str, Any]) -> Iterator[LoggedRun]:
    """How far each estimator is from the truth in a layer, means over its repetitions; steps are evaluations."""
    rows = list(read_rows(path.with_suffix(".csv")))
    for estimator, settings in config["estimators"]["compared"].items():
        values: dict[tuple[str, int], list[float]] = defaultdict(list)
        own = [row for row in rows if row["estimator"] == estimator]
        for row in own:
            for measure in _OF_ESTIMATORS:
                values[f"estimator_{measure}", round(float(row["evaluations"]))] += known([row[measure]])
        names = {name: own[0][name] for name in ("net", "seed", "layer", "units", "truth", "estimator")}
        yield LoggedRun(
            *("estimator", run_name(names, f"{estimator}/{names['layer']}")),
            *(_joint_key(facts, estimator=estimator), path.stat().st_mtime),
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
                    *("criterion", run_name(network, f"{criterion}/{aggregate}")),
                    *(digest(keys[net, seed, criterion, aggregate]), finished[net, seed]),
                    params={**params, "aggregate": aggregate, **shared},
                    metrics=[*points[net, str(seed), criterion, aggregate], *values_of(cost, cost)],
                    tags=tags_of(trials[0]),
                )


def _untrained(config: Mapping[str, Any], path: Path, facts: Mapping[str, Any]) -> Iterator[LoggedRun]:
    """What is left of an untrained network, for each criterion."""
    section, rows = config["untrained"], list(read_rows(path.with_suffix(".csv")))
    for criterion in section["criteria"]:
        steps = [row for row in rows if row["criterion"] == criterion]
        names = {name: steps[0][name] for name in ("net", "seed", "criterion", "aggregate")}
        settings, network = config["criteria"][criterion], section["networks"][names["net"]]
        yield LoggedRun(
            *("untrained", run_name(names, criterion)),
            *(_joint_key(facts, criterion=criterion), path.stat().st_mtime),
            params={**names, **network, **method_of(settings), "images": section["images"], **game_options(config)},
            metrics=[
                (f"untrained_{column}", value, int(row["step"]))
                for row in steps
                for column in ("loss", "accuracy", "parameters", "macs")
                for value in known([row[column]])
            ],
        )


def _tuned(config: Mapping[str, Any], path: Path, facts: Mapping[str, Any]) -> Iterator[LoggedRun]:
    """What training units on made of a network, for each aggregate; means over the trials at their best rates."""
    section, trials = config["selective_tuning"], dict[tuple[str, str], dict[str, str]]()
    for row in read_rows(path.with_suffix(".csv")):
        best = trials.setdefault((row["aggregate"], row["trial"]), row)
        if float(row["validation_loss"]) < float(best["validation_loss"]):
            trials[row["aggregate"], row["trial"]] = row
    for aggregate in dict.fromkeys(aggregate for aggregate, _ in trials):
        own = [row for (each, _), row in trials.items() if each == aggregate]
        names = {name: own[0][name] for name in ("net", "seed", "method", "aggregate")}
        given = {name: own[0][name] for name in ("data", "share", "images", "trainable", "parameters")}
        yield LoggedRun(
            *("tuned", run_name(names, f"{names['method']}/{aggregate}/tuned")),
            *(_joint_key(facts, aggregate=aggregate), path.stat().st_mtime),
            params={**names, **given, "trials": section["trials"], "train": section["train"]},
            metrics=_means_of(own, "tuned", ("lr", "epochs", *_BEFORE_AND_AFTER, "validation_loss", "seconds")),
        )


def _probed(config: Mapping[str, Any], path: Path, facts: Mapping[str, Any]) -> Iterator[LoggedRun]:
    """What probes tell of the units of each method and aggregate; means over the trials."""
    section, methods = config["probe"], defaultdict(list)
    for row in read_rows(path.with_suffix(".csv")):
        methods[row["method"], row["aggregate"]].append(row)
    for (method, aggregate), own in methods.items():
        names = {name: own[0][name] for name in ("net", "seed", "method", "aggregate", "share", "images")}
        layers = {row["layer"]: [each for each in own if each["layer"] == row["layer"]] for row in own}
        yield LoggedRun(
            *("probed", run_name(names, f"{method}/{aggregate}/probed")),
            *(_joint_key(facts, method=method, aggregate=aggregate), path.stat().st_mtime),
            params={**names, "trials": section["trials"]},
            metrics=[
                (f"{name}/{layer}".removesuffix("/all"), value, step)
                for layer, rows in layers.items()
                for name, value, step in _means_of(rows, "probed", ("units", "train_accuracy", "accuracy", "seconds"))
            ],
        )


def _means_of(rows: Iterable[Mapping[str, str]], what: str, columns: Iterable[str]) -> list[Point]:
    return [(f"{what}_{column}", fmean(values), 0) for column in columns if (values := known(r[column] for r in rows))]


# Kind -> how a run is made of one result: of its manifest's path, what that tells, and the store.
OF_A_RESULT: dict[str, Callable[[Path, Mapping[str, Any], Store], LoggedRun]] = {
    "scores": _scores,
    "coalitions": _coalitions,
    "compressed": compressed_run,
    "budget": budget_run,
    "retrained": retrained_run,
    "quantised": quantised_run,
}
# Kind -> how runs are made of one table: of the configuration, its manifest's path, and what that tells.
OF_A_TABLE: dict[str, Callable[[Mapping[str, Any], Path, Mapping[str, Any]], Iterator[LoggedRun]]] = {
    "estimator": _estimators,
    "untrained": _untrained,
    "tuned": _tuned,
    "probed": _probed,
}


def _joint_key(manifest: Mapping[str, Any], **names: str) -> str:
    """One key for those tasks of a table that have names of these values, e.g. those of one criterion."""
    made_of = manifest["made_of"].items()
    return digest({label: task["key"] for label, task in made_of if names.items() <= task["names"].items()})


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
                order[name, int(row[step]) if step else 0] += known([row[column]])
    means = {order: [(*at, fmean(each)) for at, each in found.items() if each] for order, found in values.items()}
    return {order: [(name, value, step) for name, step, value in found] for order, found in means.items()}
