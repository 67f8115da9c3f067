"""Tables of a whole study, put together from the files of its jobs; docs/tables.md describes their columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from shapprune.core.files import read_json, whole
from shapprune.parameters.comparison import paired_tests
from shapprune.parameters.selective import require_equal_counts
from shapprune.pruning.curves import RemovalCurve, auc
from shapprune.shapley.score_files import read_scores

Criteria = Mapping[str, Mapping[str, Any]]

_TUNED = ["net", "seed", "method", "aggregate", "trial"]
_ORDER = ["net", "seed", "criterion", "aggregate", "trial"]


def write(path: str | Path, table: pd.DataFrame) -> None:
    """Write a table as CSV, whole or not at all."""
    with whole(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def rows(paths: Iterable[str], columns: Sequence[str], _: Criteria) -> pd.DataFrame:
    """CSV files of the same columns, one below the other; without any, a table of these columns and no rows.

    All values stay as they are written: as a number, layer 1.10 would be layer 1.1.
    """
    return _concat([pd.read_csv(path, dtype=str, keep_default_na=False) for path in paths], columns)


def manifests(paths: Iterable[str], columns: Sequence[str], _: Criteria) -> pd.DataFrame:
    """A row a manifest, of those that are named or in a folder that is.

    A dotted column is the last of its names, looked up in nested facts.
    """
    files = [file for path in map(Path, paths) for file in (sorted(path.rglob("*.json")) if path.is_dir() else [path])]
    table = [{column: _looked_up(facts, column) for column in columns} for facts in map(read_json, files)]
    return pd.DataFrame(table, columns=list(columns)).rename(columns=lambda column: column.rpartition(".")[2])


def scores(folders: Iterable[str], columns: Sequence[str], criteria: Criteria) -> pd.DataFrame:
    """A row a unit, criterion, aggregate and trial: its score and the score's standard error over the draws."""
    tables = []
    for path in _score_files(folders):
        facts, found = read_json(path.with_suffix(".json")), read_scores(path)
        for aggregate in criteria[facts["criterion"]]["aggregates"]:
            row = {
                **{key: facts[key] for key in ("net", "seed", "criterion")},
                "aggregate": aggregate,
                "trial": facts["trial"],
                "layer": facts["layer"],
                "unit": range(facts["units"]),
                "score": found.aggregate(aggregate).numpy(),
                "standard_error": facts["standard_error"][aggregate],
            }
            tables.append(pd.DataFrame(row))
    return _concat(tables, columns)


def areas(paths: Iterable[str], columns: Sequence[str], _: Criteria) -> pd.DataFrame:
    """Area under the removal curves (Eq. 6 of Ancona et al. 2020), for each layer and, as layer ``all``, together."""
    table = []
    numbers = {"units": int, "removed": int, "loss": float, "accuracy": float}
    curves = rows(paths, [*_ORDER, "layer", *numbers], _).astype(numbers)
    for order, of_order in curves.groupby(_ORDER, sort=False):
        measured = [
            RemovalCurve(layer, *(points[name].to_numpy() for name in ("loss", "accuracy", "removed")))
            for layer, points in of_order.sort_values("removed", kind="stable").groupby("layer", sort=False)
        ]
        for layer, group in [*((each.layer, [each]) for each in measured), ("all", measured)]:
            row = {"layer": layer, "units": sum(each.units for each in group)}
            values = {"auc_loss": auc(group), "auc_accuracy": auc(group, measure="accuracy")}
            table.append(dict(zip(_ORDER, order, strict=True)) | row | values)
    return pd.DataFrame(table, columns=list(columns))


def chosen_rates(paths: Iterable[str], columns: Sequence[str], _: Criteria) -> pd.DataFrame:
    """Of trainings at several learning rates the one with the lowest validation loss, of equal ones the first.

    Values stay as they are written.
    """
    trained = rows(paths, columns, _)
    if trained.empty:
        return trained
    runs = trained.assign(loss_of_choice=trained["validation_loss"].astype(float))
    best = runs.groupby(_TUNED, sort=False)["loss_of_choice"].idxmin()
    return trained.loc[best].reset_index(drop=True)


def tests(paths: Iterable[str], columns: Sequence[str], _: Criteria) -> pd.DataFrame:
    """A row a network, measure and pair of methods: a paired t-test over seeds and trials.

    Raises:
        ShapPruneError: two methods that select units train different numbers of parameters.
    """
    table = []
    for net, of_net in chosen_rates(paths, _TUNED, _).groupby("net", sort=False):
        of_methods = dict(iter(of_net.groupby(["method", "aggregate"], sort=False)))
        selected = {name: found for (name, _), found in of_methods.items() if name not in ("full", "lora")}
        require_equal_counts({name: int(found["trainable"].iloc[0]) for name, found in selected.items()})
        names = {" ".join(method): method for method in of_methods}
        for measure in ("loss", "accuracy"):
            values = {
                name: of_methods[method].set_index(["seed", "trial"])[measure].astype(float).sort_index()
                for name, method in names.items()
            }
            for test in paired_tests(values):
                one, other = names[test.one], names[test.other]
                found = dict(zip(columns, (net, measure, *one, *other), strict=False))
                table.append(found | {name: getattr(test, name) for name in columns[len(found) :]})
    return pd.DataFrame(table, columns=list(columns))


# How a table is made, by its kind (`shapprune.workflow.stages.stage.Table`): a function of the paths of results, the
# columns and the configuration's criteria.
MAKERS: dict[str, Callable[[Iterable[str], Sequence[str], Criteria], pd.DataFrame]] = {
    "rows": rows,
    "manifests": manifests,
    "scores": scores,
    "areas": areas,
    "chosen_rates": chosen_rates,
    "tests": tests,
}


def timing(
    timed: Iterable[tuple[Mapping[str, Any], str]], networks: Iterable[str], folders: Iterable[str]
) -> pd.DataFrame:
    """A row a job, from Snakemake's benchmarks, and a row a scored layer and criterion, from their manifests.

    Args:
        timed: what each job is of, with its stage; and the file that says how long it took, where it has run.
        networks: manifests of the trained networks; they say what device the study ran on.
        folders: of scores.
    """
    devices = {facts["net"]: facts["device"] for facts in map(read_json, networks)}
    table = []
    for place, path in timed:
        if not Path(path).is_file():
            continue
        measured, net = pd.read_csv(path, sep="\t").iloc[0], place.get("net", "")
        names = {name: place.get(name, "") for name in ("stage", "net", "seed", "layer", "criterion")}
        device = devices.get(net, "" if net else "cpu")
        table.append({**names, "device": device, "seconds": measured["s"], "peak_memory_mb": measured["max_rss"]})
    for file in _score_files(folders):
        facts = read_json(file.with_suffix(".json"))
        table.append(
            {"stage": "score", **{key: facts[key] for key in ("net", "seed", "layer", "criterion", "device")}}
            | {"seconds": facts["seconds"], "peak_memory_mb": facts["peak_memory_mb"]}
        )
    return pd.DataFrame(table)


def _looked_up(facts: Any, column: str) -> Any:
    for name in column.split("."):
        facts = facts[name]
    return facts


def _concat(tables: Sequence[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(columns))


def _score_files(folders: Iterable[str]) -> list[Path]:
    return [path for folder in folders for path in sorted(Path(folder).rglob("trial*.npz"))]
