"""How far estimators of Shapley values are from the truth in a layer, and how well their orders prune it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from shapprune.criteria.catalog import options_of
from shapprune.criteria.scoring import score
from shapprune.data.prepared import draw_images
from shapprune.game.layer_game import LayerGame
from shapprune.oracle.agreement import bottom_overlap, kendall, mse_ratio, spearman
from shapprune.oracle.sets import overlap
from shapprune.oracle.tabulated import TabulatedGame
from shapprune.oracle.values import shapley_values
from shapprune.pruning.curves import auc, removal_curve
from shapprune.workflow.stages.oracle import read_table
from shapprune.workflow.stages.run import Run, rules_of
from shapprune.workflow.store.work import Work, columns
from shapprune.workflow.study.compared import CONVERGED, TRUTH

_TABLE_BYTES = 128 * 2**20  # of the values of all coalitions for each example; beyond, the network is run
_OTHER_DRAWS = 10**6  # seed of the truth's walks, far from those of the repetitions

Measure = Callable[[np.ndarray], dict[str, float | None]]


def keep_errors(
    run: Run,
    layer: str,
    table: Path | None,
    images: int,
    curve_images: int,
    entries: Mapping[str, Mapping[str, Any]],
    converged: int,
    scoring: Mapping[str, Any],
    work: Work,
    unfinished: Path,
) -> None:
    """Repeat estimators on the same images, compare each result with the truth, and keep what was found.

    The truth is the exact Shapley values where there is a coalition table, else the mean of many antithetic walks. What
    an estimator costs is measured once, on the network; its repetitions look values up where all coalitions fit into
    memory.

    Args:
        run: the network.
        layer: the layer.
        table: its coalition table; None where it has none.
        images: how many validation images are scored on, those of the table.
        curve_images: how many test images the removal orders are measured on.
        entries: method and options of each estimator in each of its sizes, by the label of its task.
        converged: how many orders of each image the truth is made of where there is no table.
        scoring: the configuration's ``scoring``.
        work: the missing tasks: the truth, and an estimator in one of its sizes each; their parts say how often it is
            repeated, with the repetition as seed.
        unfinished: a file for the checkpoint of that truth; it is deleted when they are kept.
    """
    chosen = draw_images(run.validation, images, trial=0)
    game = run.game(layer, "train", chosen, **rules_of(scoring))
    repeated = _looked_up(game)
    held_out = _looked_up(run.game(layer, "test", draw_images(run.test, curve_images, trial=0)))
    payoff = None if table is None else read_table(table).payoff
    pruning = _pruning(held_out, payoff)
    if TRUTH in work.missing:
        seconds = None  # of the table, which is not made here
        if table is None or payoff is None:
            options: dict[str, Any] = {"permutations": converged, "antithetic": True}
            found = score(repeated, CONVERGED, seed=_OTHER_DRAWS, checkpoint=unfinished, **options)
            truth, evaluations, seconds = found.aggregate("mean").cpu().numpy(), found.evaluations, found.seconds
        else:
            work.require(TRUTH, "table", table.with_suffix(".json"))
            truth, evaluations = shapley_values(payoff), 2.0**game.units
        row = _row(0, evaluations, seconds, truth, truth, pruning)
        work.keep(TRUTH, {"values": truth.tolist(), "columns": columns([row])})
        unfinished.unlink(missing_ok=True)
    truth = np.array(work.facts[TRUTH]["values"])
    for label, task in list(work.missing.items()):
        entry = entries[label]
        timed = score(game.fresh(), entry["method"], **options_of(entry))
        rows = []
        for repetition in range(task["parts"]["repetitions"]):
            values = score(repeated, entry["method"], seed=repetition, **options_of(entry)).aggregate("mean")
            rows.append(_row(repetition, timed.evaluations, timed.seconds, values.cpu().numpy(), truth, pruning))
        work.keep(label, {"columns": columns(rows)})
        print(f"{layer}: {label}: {timed.evaluations:g} evaluations, {timed.seconds:.2f} s", flush=True)


def _looked_up(game: LayerGame) -> LayerGame:
    """A game whose values need not be computed again and again, where there is room for them."""
    return TabulatedGame(game) if 12 * len(game) * 2**game.units <= _TABLE_BYTES else game


def _pruning(held_out: LayerGame, payoff: np.ndarray | None) -> Measure:
    """What measures a removal order: its area under the loss curve, and its mean gap to the oracle sets."""
    known: dict[tuple[int, ...], dict[str, float | None]] = {}

    def measure(order: np.ndarray) -> dict[str, float | None]:
        name = tuple(order.tolist())
        if name not in known:
            gaps = None if payoff is None else [row.gap for row in overlap(payoff, name)]
            gap = None if gaps is None else float(np.mean(gaps))
            known[name] = {"auc_loss": auc([removal_curve(held_out, order)]), "gap": gap}
        return known[name]

    return measure


def _row(
    repetition: int, evaluations: float, seconds: float | None, values: np.ndarray, truth: np.ndarray, pruning: Measure
) -> dict[str, Any]:
    likeness = {
        "spearman": spearman(values, truth),
        "kendall": kendall(values, truth),
        "mse_ratio": mse_ratio(values, truth),
        "bottom25_overlap": bottom_overlap(values, truth),
    }
    return {
        "repetition": repetition,
        "evaluations": evaluations,
        "seconds": seconds,
        **{name: value if math.isfinite(value) else None for name, value in likeness.items()},
        **pruning(np.argsort(values, kind="stable")),
    }
