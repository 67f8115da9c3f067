"""How far estimators of Shapley values are from the truth in a layer, and how well their orders prune it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from shapprune.criteria.scoring import score
from shapprune.data.prepared import draw_images
from shapprune.game.layer_game import LayerGame
from shapprune.game.protocol import PayoffGame
from shapprune.oracle.agreement import bottom_overlap, kendall, mse_ratio, spearman
from shapprune.oracle.sets import overlap
from shapprune.oracle.tabulated import TabulatedGame
from shapprune.oracle.values import shapley_values
from shapprune.pruning.curves import auc, removal_curve
from shapprune.workflow.computing.coalitions import read_table
from shapprune.workflow.computing.run import Run
from shapprune.workflow.store.work import Work, columns

_TABLE_BYTES = 128 * 2**20  # of the values of all coalitions for each example; beyond, the network is run
_OTHER_DRAWS = 10**6  # seed of the truth's walks, far from those of the repetitions

Measure = Callable[[np.ndarray], dict[str, float | None]]


def keep_errors(run: Run, work: Work) -> None:
    """Repeat estimators on the same images, compare each result with the truth, and keep what was found.

    The truth is the exact Shapley values where there is a coalition table, else the mean of many antithetic walks. What
    an estimator costs is measured once, on the network; its repetitions look values up where all coalitions fit into
    memory.

    Args:
        run: the network.
        work: the missing tasks: the truth, and an estimator in one of its sizes each; their parts say how often it is
            repeated, with the repetition as seed. All are of one layer, on the images that the truth names.
    """
    truth_label = next(label for label, task in work.tasks.items() if "truth" not in task["parts"])
    parts = work.tasks[truth_label]["parts"]
    layer, chosen = parts["layer"], draw_images(run.validation, parts["images"], trial=0)
    game = run.game(layer, "train", chosen, **parts["game"])
    repeated = _looked_up(game)
    held_out = _looked_up(run.game(layer, "test", draw_images(run.test, parts["curve images"], trial=0)))
    payoff = read_table(f"{work.consumed(truth_label, 'table')}.npz").payoff if "table" in parts else None
    pruning = _pruning(held_out, payoff)
    if truth_label in work.missing:
        _keep_truth(repeated, payoff, pruning, truth_label, work)
    truth = np.array(work.facts[truth_label]["values"])
    for label, task in list(work.missing.items()):
        method, options = task["parts"]["method"], task["parts"]["options"]
        timed = score(game.fresh(), method, **options)
        rows = []
        for repetition in range(task["parts"]["repetitions"]):
            values = score(repeated, method, seed=repetition, **options).aggregate("mean")
            rows.append(_row(repetition, timed.evaluations, timed.seconds, values.cpu().numpy(), truth, pruning))
        work.keep(label, {"columns": columns(rows)})
        print(f"{layer}: {label}: {timed.evaluations:g} evaluations, {timed.seconds:.2f} s", flush=True)


def _keep_truth(game: PayoffGame, payoff: np.ndarray | None, pruning: Measure, label: str, work: Work) -> None:
    """Keep the truth: of the coalition table where there is one, else of many walks, which may go on after a cut."""
    seconds = None  # of the table, which is not made here
    if payoff is None:
        parts = work.tasks[label]["parts"]
        found = score(game, parts["method"], seed=_OTHER_DRAWS, checkpoint=work.unfinished, **parts["options"])
        truth, evaluations, seconds = found.aggregate("mean").cpu().numpy(), found.evaluations, found.seconds
    else:
        truth, evaluations = shapley_values(payoff), 2.0**game.units
    row = _row(0, evaluations, seconds, truth, truth, pruning)
    work.keep(label, {"values": truth.tolist(), "columns": columns([row])})
    if work.unfinished is not None:
        work.unfinished.unlink(missing_ok=True)


def _looked_up(game: PayoffGame) -> PayoffGame:
    """A game whose values need not be computed again and again, where it is of a layer and there is room for them."""
    small = 12 * len(game) * 2**game.units <= _TABLE_BYTES
    return TabulatedGame(game) if small and isinstance(game, LayerGame) else game


def _pruning(held_out: PayoffGame, payoff: np.ndarray | None) -> Measure:
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
