"""Tables of a whole study, put together from the files of its jobs; docs/tables.md describes their columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from shapprune.core.files import read_json, whole
from shapprune.pruning.curves import RemovalCurve, auc
from shapprune.shapley.score_files import read_scores
from shapprune.workflow.stages.columns import COMPRESS, TRAINING

_RUN = ["net", "seed"]
_ORDER = [*_RUN, "criterion", "aggregate", "trial"]
_OF_A_LAYER = ("score_layer", "tabulate_coalitions", "search_oracle", "study_estimators", "measure_curves")


def write(path: str | Path, table: pd.DataFrame) -> None:
    """Write a table as CSV, whole or not at all."""
    with whole(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def stack(paths: Iterable[str], columns: Sequence[str]) -> pd.DataFrame:
    """CSV files of the same columns, one below the other; without any, a table of these columns and no rows."""
    return _concat([pd.read_csv(path) for path in paths], columns)


def compressed(folders: Iterable[str]) -> pd.DataFrame:
    """A row a compressed network, from their manifests."""
    facts = [read_json(path) for folder in folders for path in sorted(Path(folder).rglob("*.json"))]
    return pd.DataFrame([{column: each[column] for column in COMPRESS} for each in facts], columns=list(COMPRESS))


def networks(manifests: Iterable[str]) -> pd.DataFrame:
    """A row a trained network: its size, loss and accuracy."""
    facts = [read_json(path) for path in manifests]
    measured = ("parameters", "macs", "validation_loss", "validation_accuracy", "test_loss", "test_accuracy")
    rows = [
        {
            "net": each["net"],
            "seed": each["seed"],
            "architecture": each["network"]["architecture"],
            "data": each["network"]["data"],
            **{column: each[column] for column in measured},
        }
        for each in facts
    ]
    return pd.DataFrame(rows, columns=[*_RUN, "architecture", "data", *measured])


def training(histories: Sequence[str], manifests: Sequence[str]) -> pd.DataFrame:
    """A row a network and epoch."""
    tables = []
    for history, manifest in zip(histories, manifests, strict=True):
        facts, table = read_json(manifest), pd.read_csv(history)
        table.insert(0, "net", facts["net"])
        table.insert(1, "seed", facts["seed"])
        tables.append(table)
    return _concat(tables, [*_RUN, *TRAINING])


def scores(folders: Iterable[str], criteria: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
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
    return _concat(tables, [*_ORDER, "layer", "unit", "score", "standard_error"])


def areas(curves: pd.DataFrame) -> pd.DataFrame:
    """Area under the removal curves (Eq. 6 of Ancona et al. 2020), for each layer and, as layer ``all``, together."""
    rows = []
    for order, of_order in curves.groupby(_ORDER, sort=False):
        measured = [
            RemovalCurve(str(layer), points["loss"].to_numpy(), points["accuracy"].to_numpy())
            for layer, points in of_order.sort_values("removed", kind="stable").groupby("layer", sort=False)
        ]
        for layer, group in [*((each.layer, [each]) for each in measured), ("all", measured)]:
            row = {"layer": layer, "units": sum(each.units for each in group)}
            values = {"auc_loss": auc(group), "auc_accuracy": auc(group, measure="accuracy")}
            rows.append(dict(zip(_ORDER, order, strict=True)) | row | values)
    return pd.DataFrame(rows, columns=[*_ORDER, "layer", "units", "auc_loss", "auc_accuracy"])


def timing(folder: str | Path, manifests: Sequence[str], folders: Iterable[str]) -> pd.DataFrame:
    """A row a job, from Snakemake's benchmarks, and a row a scored layer and criterion, from their manifests.

    Args:
        folder: the benchmarks, as ``{stage}/{net}/seed{seed}/...tsv``.
        manifests: of the trained networks; they say what device the study ran on.
        folders: of scores.
    """
    devices = {facts["net"]: facts["device"] for facts in map(read_json, manifests)}
    rows = []
    for path in sorted(Path(folder).rglob("*.tsv")):
        stage, *place = path.relative_to(folder).with_suffix("").parts
        net = place[0] if len(place) > 1 and place[1].startswith("seed") else ""
        layer = place[2] if stage in _OF_A_LAYER else ""
        measured = pd.read_csv(path, sep="\t").iloc[0]
        rows.append(
            {
                "stage": stage,
                "net": net,
                "seed": place[1].removeprefix("seed") if net else "",
                "layer": layer,
                "criterion": place[2] if stage in ("prune_layers", "fine_tune_pruned", "compress_network") else "",
                "device": devices.get(net, "" if net else "cpu"),
                "seconds": measured["s"],
                "peak_memory_mb": measured["max_rss"],
            }
        )
    for path in _score_files(folders):
        facts = read_json(path.with_suffix(".json"))
        rows.append(
            {"stage": "score", **{key: facts[key] for key in ("net", "seed", "layer", "criterion", "device")}}
            | {"seconds": facts["seconds"], "peak_memory_mb": facts["peak_memory_mb"]}
        )
    return pd.DataFrame(rows)


def _concat(tables: Sequence[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(columns))


def _score_files(folders: Iterable[str]) -> list[Path]:
    return [path for folder in folders for path in sorted(Path(folder).rglob("trial*.npz"))]
