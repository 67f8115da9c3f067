"""Coalition tables of small layers, and criteria against their oracle sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from shapprune import oracle
from shapprune.data import draw_images
from shapprune.gpu import machine_facts
from shapprune.score_files import read_scores
from shapprune.stages.run import Run, rules_of
from shapprune.work import Work, columns, score_label


def layer_table(run: Run, layer: str, images: int, scoring: Mapping[str, Any]) -> tuple[np.ndarray, dict[str, Any]]:
    """The coalition table of a layer on validation images, and the facts of its manifest."""
    chosen = draw_images(run.validation, images, trial=0)
    game = run.game(layer, "train", chosen, **rules_of(scoring))
    table = oracle.coalition_table(game)
    facts = {
        **run.name,
        "layer": layer,
        "units": game.units,
        "images": images,
        **rules_of(scoring),
        "evaluations": game.evaluations,
        "oracle_sets": oracle.oracle_sets(table),
        "shapley_values": oracle.shapley_values(table).tolist(),
        **machine_facts(run.device),
    }
    return table, facts


def keep_overlaps(table_stem: Path, folder: Path, layer: str, work: Work) -> None:
    """Compare removal orders with the oracle sets of a layer, and keep how they do.

    Args:
        table_stem: the coalition table, without ``.npz``.
        folder: of the scores.
        layer: the layer.
        work: the missing units, one an order; their names say which criterion, aggregate and trial gave it. One that
            consumes no scores is of the exact Shapley values.
    """
    with np.load(table_stem.with_suffix(".npz"), allow_pickle=False) as arrays:
        table = arrays["table"]
    for label, unit in list(work.missing.items()):
        work.require(label, "table", table_stem.with_suffix(".json"))
        names = unit["names"]
        if "scores" in unit["parts"]:
            stem = folder / score_label(names["criterion"], layer, names["trial"])
            work.require(label, "scores", stem.with_suffix(".json"))
            order = read_scores(stem.with_suffix(".npz")).order(names["aggregate"]).numpy()
        else:
            order = np.argsort(oracle.shapley_values(table), kind="stable")
        work.keep(label, {"columns": columns(asdict(row) for row in oracle.overlap(table, order.tolist()))})
