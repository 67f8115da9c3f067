"""Scores of parameters, pooled to units, against converged Shapley values of the units and against what removal costs.

    python -m benchmarks.model_shapley lenet5
    python -m benchmarks.model_shapley cct=path/to/weights --layers classifier.blocks.{0,1}.linear1 --walks 50

The converged values are the mean of many antithetic walks, each image with orders of its own, with draws that no other
score shares. A network without weights is trained first, as in the default study. Rows that are in the table already
are not measured again. Of each score there are Spearman's correlation with the converged values, its sum as a share of
v(all) - v(none), and the area under the loss curve of other images when units leave in its order. The converged values
themselves have the correlation of one half of the walks with the other.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.cases import DATA, Case, arguments, make_case
from benchmarks.quality import loss_areas
from shapprune import LayerGame, score
from shapprune.core.program import run_program
from shapprune.core.tables import read_rows, write_table
from shapprune.data.prepared import tensors
from shapprune.data.sets import load
from shapprune.networks.evaluation import evaluate
from shapprune.networks.recipe import Recipe
from shapprune.networks.training import fit
from shapprune.oracle.agreement import spearman
from shapprune.shapley.scores import UnitScores

_OTHER_DRAWS = 10**6  # seed of the converged values
_HELD_BACK = 1000  # training images by which the best epoch is chosen
_FISHER = {"hessian": "fisher", "batch": 100}
_SHIPPED = {"hessian": "shipped", "block": "matrix", "sign": "paper"}
COLUMNS = ("net", "weights", "accuracy", "layer", "units", "images", "walks", "score", "scope")
MEASURED = ("spearman", "sum_share", "auc_loss", "evaluations", "seconds")
# Name -> criterion and options; those of parameters once with the rows that make a unit, once with all that leaves.
OF_PARAMETERS: dict[str, tuple[str, dict[str, Any]]] = {
    "paper's sign, exact Hessian": ("model-shapley", {"sign": "paper"}),
    "paper's sign, Fisher": ("model-shapley", {"sign": "paper", **_FISHER}),
    "as the paper's code, signed": ("model-shapley", _SHIPPED),
    "as the paper's code, absolute": ("model-shapley", {"absolute": "sum", **_SHIPPED}),
    "as the paper's code, absolute by batch": ("model-shapley", {"absolute": "batch", "batch": 16, **_SHIPPED}),
    "corrected sign, exact Hessian": ("model-shapley", {}),
    "corrected sign, exact Hessian, absolute": ("model-shapley", {"absolute": "sum"}),
    "corrected sign, Fisher": ("model-shapley", _FISHER),
    "second order alone, exact Hessian": ("model-shapley", {"order": "second"}),
    "second order alone, Fisher": ("model-shapley", {"order": "second", **_FISHER}),
    "first order": ("model-shapley", {"order": "first"}),
    "first order, absolute": ("model-shapley", {"order": "first", "absolute": "sum"}),
    "gradient": ("gradient", {}),
    "gradient trace": ("gradient-trace", {}),
    "OBD": ("obd", {}),
}
OF_UNITS: dict[str, tuple[str, dict[str, Any]]] = {
    "random": ("random", {}),
    "weight norm l2": ("weight-norm", {"norm": "l2"}),
    "taylor, signed": ("taylor", {"signed": True}),
    "leave one out": ("leave-one-out", {}),
    "coalition gradient, 4 points": ("coalition-gradient", {"points": 4}),
    "permutation, one order an image": ("permutation", {"permutations": 1}),
}


def train(case: Case) -> None:
    """Train the network of a case in place, as the default study does."""
    images, labels = tensors(load(DATA[case.net]), "train")
    recipe = Recipe(10, lr=0.05, weight_decay=0.0005, schedule="cosine", warmup=1, augment=("flip",))
    parts = images[_HELD_BACK:], labels[_HELD_BACK:], images[:_HELD_BACK], labels[:_HELD_BACK]
    fit(case.model, *parts, recipe, device=case.device)


def scores_of(case: Case, layer: str) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """What to measure: name, scope, criterion and its options."""
    for name, (criterion, options) in OF_UNITS.items():
        yield name, "", criterion, options
    for name, (criterion, options) in OF_PARAMETERS.items():
        for scope in ("rows", "all"):
            yield name, scope, criterion, {**options, "scope": scope}


def measure(case: Case, out: Path, walks: int) -> None:
    """Add to a table what is missing of one network: a row a layer and score."""
    rows = read_rows(out)
    _, accuracy = evaluate(case.model, *case.held_out)
    about = {"net": case.net, "weights": case.weights, "accuracy": f"{accuracy:.4f}", "walks": walks}
    for layer in case.layers:
        of = {**about, "layer": layer, "units": case.game(layer).units, "images": len(case.scoring[0])}
        place = {column: str(value) for column, value in of.items()}
        there = {(row["score"], row["scope"]) for row in rows if place.items() <= row.items()}
        if all((name, scope) in there for name, scope, *_ in scores_of(case, layer)):
            continue
        game = case.game(layer)
        truth = score(game, "permutation", permutations=walks, antithetic=True, seed=_OTHER_DRAWS)
        value = float((game.full - game.empty).mean())
        found = {("converged", ""): truth}
        for name, scope, criterion, options in scores_of(case, layer):
            found[name, scope] = score(case.game(layer), criterion, **options)
            print(f"{case.net} {layer}: {name}, {found[name, scope].seconds:.1f} s", flush=True)
        others = LayerGame(case.model, layer, *case.held_out)
        areas = loss_areas(others, [each.order("mean").tolist() for each in found.values()])
        for ((name, scope), each), area in zip(found.items(), areas, strict=True):
            values = each.aggregate("mean")
            agreement = spearman(*_halves(truth)) if each is truth else spearman(values, truth.aggregate("mean"))
            numbers = agreement, float(values.sum()) / value, area, each.evaluations, each.seconds
            measured = {column: f"{number:.4g}" for column, number in zip(MEASURED, numbers, strict=True)}
            rows.append({**place, "score": name, "scope": scope, **measured})
        write_table(out, (*COLUMNS, *MEASURED), rows)


def _halves(truth: UnitScores) -> tuple[Tensor, Tensor]:
    """The values by each half of the walks."""
    assert truth.draws is not None
    one, other = truth.draws.mean(1).tensor_split(2)
    return one.mean(0), other.mean(0)


def main() -> None:
    """Run the benchmark and write its table."""
    parser = arguments(__doc__)
    parser.add_argument("--walks", type=int, default=200, help="for each image, that make the converged values")
    parser.add_argument("--curve-images", type=int, default=500, help="for removal curves, none of which is scored on")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/model-shapley.csv"))
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    for network in given.networks:
        case = make_case(network, given.images, given.curve_images, given.layers, given.device)
        if case.weights == "fresh":
            train(case)
        measure(case, given.out, given.walks)
        print(given.out)


if __name__ == "__main__":
    sys.exit(run_program(main))
