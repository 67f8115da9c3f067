"""Coalition tables of small layers, and criteria against their oracle sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from shapprune.core.files import whole, write_json
from shapprune.data.prepared import draw_images
from shapprune.gpu.device import machine_facts
from shapprune.oracle.sets import best_coalitions, greedy_order, left_by, oracle_rank, oracle_sets, overlap
from shapprune.oracle.tables import Tables, coalition_tables
from shapprune.oracle.values import shapley_values
from shapprune.shapley.score_files import read_scores
from shapprune.workflow.computing.run import Run
from shapprune.workflow.store.work import Work, columns


def keep_table(run: Run, work: Work) -> None:
    """Value all coalitions of a layer on validation images, and keep the table.

    The file has ``payoff`` [2^n] and ``accuracy`` [2^n], and ``loss`` [2^n] where that is not minus the payoff, all
    float32; the manifest beside it has the oracle sets and the Shapley values. A long table leaves its checkpoint in
    the file ``work.unfinished``.

    Args:
        run: the network.
        work: the table as its one task.
    """
    ((label, task),) = work.missing.items()
    parts = task["parts"]
    game = run.game(parts["layer"], "train", draw_images(run.validation, parts["images"], trial=0), **parts["game"])
    found = coalition_tables(game, work.unfinished)
    arrays = {"payoff": found.payoff, "accuracy": found.accuracy}
    if parts["game"]["payoff"] != "loss":
        arrays["loss"] = found.loss
    with whole(work.path(label, ".npz")) as temporary:
        np.savez(temporary, allow_pickle=False, **{name: table.astype(np.float32) for name, table in arrays.items()})
    facts = {
        **run.name,
        "layer": parts["layer"],
        "units": game.units,
        "images": parts["images"],
        **parts["game"],
        "evaluations": 2**game.units,
        "constant": bool(np.ptp(found.payoff) == 0),
        "oracle_sets": oracle_sets(found.payoff),
        "shapley_values": shapley_values(found.payoff).tolist(),
        **machine_facts(run.device),
    }
    write_json(work.path(label, ".json"), facts)
    work.keep_files(label, ".npz")
    if work.unfinished is not None:
        work.unfinished.unlink(missing_ok=True)


def read_table(path: str | Path) -> Tables:
    """The tables in a file of `keep_table`, as float64."""
    with np.load(path, allow_pickle=False) as arrays:
        payoff, accuracy = (arrays[name].astype(float) for name in ("payoff", "accuracy"))
        return Tables(payoff, arrays["loss"].astype(float) if "loss" in arrays else -payoff, accuracy)


def keep_overlaps(work: Work) -> None:
    """Compare removal orders with the oracle sets of a layer, and keep how they do and what they leave.

    Args:
        work: the missing tasks, one an order: it follows from the scores that a task consumes, or from the coalition
            table alone. All are of the same table.
    """
    tables: Tables | None = None
    for label, task in list(work.missing.items()):
        if tables is None:
            tables = read_table(f"{work.consumed(label, 'table')}.npz")
        if "scores" in task["parts"]:
            scores = read_scores(f"{work.consumed(label, 'scores')}.npz")
            rows = _rows(tables, scores.order(task["parts"]["aggregate"]).tolist())
        else:
            rows = _rows_of_the_table(task["parts"]["of the table"], tables)
        work.keep(label, {"columns": columns(rows)})


def _rows_of_the_table(name: str, tables: Tables) -> list[dict[str, Any]]:
    """What follows from the table alone: the oracle sets themselves, which no order needs to meet, or an order."""
    payoff = tables.payoff
    if name == "oracle sets":
        best = best_coalitions(payoff)
        met = {"overlap_low": 1.0, "overlap_high": 1.0, "cumulative_overlap": 1.0, "gap": 0.0}
        return [
            {"size": size, "ties": len(best[size]), **met, **_left(tables, int(best[size][0]))}
            for size in range(1, len(best) - 1)
        ]
    orders = {
        "oracle rank": lambda: oracle_rank(payoff),
        "greedy removal": lambda: greedy_order(payoff),
        "exact Shapley": lambda: np.argsort(shapley_values(payoff), kind="stable"),
    }
    return _rows(tables, orders[name]().tolist())


def _rows(tables: Tables, order: Sequence[int]) -> list[dict[str, Any]]:
    """An order against the oracle sets, a row a size."""
    left = left_by(order, len(order))
    return [{**asdict(row), **_left(tables, int(left[row.size]))} for row in overlap(tables.payoff, order)]


def _left(tables: Tables, coalition: int) -> dict[str, float]:
    """Loss and accuracy of what is left of a layer."""
    return {"loss": float(tables.loss[coalition]), "accuracy": float(tables.accuracy[coalition])}
