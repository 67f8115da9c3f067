"""What estimators of Shapley values cost and what they are worth, against converged values of the same images.

    python -m benchmarks.quality lenet5=path/to/model.safetensors --out results/benchmarks/quality.csv
    python -m benchmarks.quality resnet20=path/to/resnet20.th --images 100 --walks 100 --repeats 3 --threads 1
    python -m benchmarks.draw results/benchmarks/quality.csv

The converged values are the mean of many antithetic walks, each image with orders of its own; they are kept in a folder
and made once. Every estimator gets a game of its own, so none finds what another has prepared, and draws that the
converged values do not share. What it is worth: Spearman correlation with the converged values, the share of the lowest
quarter of the units in common, and the area under the loss curve of other images when the units are removed in its
order (Eq. 6 of Ancona et al. 2020; removal curves come last and take as long as the converged values).

What is in the table already is not measured again, so a run that was cut off goes on where it was.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.baseline import walk_one_by_one
from benchmarks.cases import Case, arguments, make_case
from shapprune import LayerGame, score, shapley
from shapprune.core.files import whole
from shapprune.core.program import run_program
from shapprune.core.progress import track
from shapprune.core.tables import read_rows, write_table
from shapprune.criteria.catalog import CATALOG
from shapprune.oracle.agreement import bottom_overlap, spearman
from shapprune.shapley import UnitScores
from shapprune.shapley.draws import draw_orders
from shapprune.shapley.scores import aggregate


@dataclass(frozen=True)
class Family:
    """An estimator, at several sizes.

    Attributes:
        name: what tables and figures call it.
        criterion: its name in the catalog of criteria.
        size: the option that sets its cost.
        sizes: the values of that option to measure.
        options: its other options.
    """

    name: str
    criterion: str
    size: str = ""
    sizes: tuple[int, ...] = (1,)
    options: Mapping[str, Any] = field(default_factory=dict)


BASELINE, SHARED = "TorchPruner", "permutation, shared"  # the same walk, its way and the engine's
CONVERGED = "converged"
_LARGE = {"low": 0.5}
_STAGED = {"options": {"points": 4, "low": 0.5}, "aggregate": "mean+2std"}
FAMILIES = (
    Family(SHARED, "permutation", "permutations", (1, 2, 5, 10), {"shared": True}),
    Family("permutation, per image", "permutation", "permutations", (1, 2, 5)),
    Family("permutation, antithetic", "permutation", "permutations", (2, 4), {"antithetic": True}),
    Family("coalition gradient", "coalition-gradient", "points", (2, 4, 8, 16, 32)),
    Family("coalition gradient, large", "coalition-gradient", "points", (4, 8), _LARGE),
    Family("path gradient", "path-gradient", "points", (3, 8)),
    Family("shrunk", "shrunk", "permutations", (1, 2)),
    Family("rescored gradient", "rescored", "stages", (4, 16), _STAGED),
    Family("leave one out", "leave-one-out"),
    Family("taylor", "taylor"),
    Family("weight norm l1", "weight-norm", options={"norm": "l1"}),
    Family("weight norm l2", "weight-norm", options={"norm": "l2"}),
    Family("random", "random"),
)
AGGREGATES = ("mean", "mean+2std")  # the order of what sees no images is the same by both

RUN = ("net", "weights", "digest", "images", "curve_images", "walks", "device", "threads")
PLACE = (*RUN, "layer")
KEY = (*PLACE, "estimator", "size", "repeat", "aggregate")
COLUMNS = (
    *KEY,
    *("units", "evaluations", "seconds", "game_seconds", "spearman", "overlap", "auc_loss", "split_half", "order"),
)
Row = dict[str, str]
Key = tuple[str, ...]

_OTHER_DRAWS = 10**6  # seed of the converged values, far from those of the estimators
_TOGETHER = 16  # removal curves that share what is prepared, and are kept when they are done


def main() -> None:
    """Run the benchmark and write its table."""
    parser = arguments(__doc__)
    parser.add_argument("--walks", type=int, default=100, help="for each image, that make the converged values")
    parser.add_argument("--repeats", type=int, default=3, help="of what draws at random")
    parser.add_argument("--curve-images", type=int, default=100, help="for removal curves, none of which is scored on")
    parser.add_argument("--no-curves", action="store_true", help="leave the curves out; a later run can add them")
    parser.add_argument("--baseline", action="store_true", help="time the walk of TorchPruner too, which is slow")
    parser.add_argument("--baseline-orders", type=int, default=5, help="that it walks")
    parser.add_argument("--again", action="store_true", help="score again what is there, for its seconds")
    parser.add_argument("--cache", type=Path, default=Path("results/benchmarks/converged"), help="of converged values")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/quality.csv"))
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    baseline = [Family(BASELINE, BASELINE, "orders", (given.baseline_orders,))] if given.baseline else []
    for network in given.networks:
        case = make_case(network, given.images, given.curve_images, given.layers, given.device)
        measure(
            case,
            given.out,
            given.cache,
            walks=given.walks,
            repeats=given.repeats,
            families=[*FAMILIES, *baseline],
            curves=not given.no_curves,
            again=given.again,
        )


def measure(
    case: Case,
    out: Path,
    cache: Path,
    *,
    walks: int = 100,
    repeats: int = 3,
    families: Sequence[Family] = FAMILIES,
    curves: bool = True,
    again: bool = False,
) -> None:
    """Add to a table what is missing of one network: a row a layer, estimator, size, repeat and aggregate."""
    table = Table(out)
    counts = {"images": len(case.scoring[0]), "curve_images": len(case.held_out[0]), "walks": walks}
    about = {"net": case.net, "weights": case.weights, "digest": case.digest, **counts}
    about |= {"device": case.device.type, "threads": torch.get_num_threads()}
    for layer in case.layers:
        place = tuple(str((about | {"layer": layer})[column]) for column in PLACE)
        there = {key[:-1] for key in table.rows}
        missing = [
            (family, size, repeat)
            for family, size, repeat in _draws([*families, Family(CONVERGED, CONVERGED, "walks", (walks,))], repeats)
            if again or (*place, family.name, str(size), str(repeat)) not in there
        ]
        if missing:
            score_layer(case, place, table, missing, converged(case, layer, walks, cache))
        if curves:
            add_areas(case, place, table)


class Table:
    """The rows of the benchmark, all text, in a file that is whole at any time.

    Attributes:
        rows: by key.
    """

    def __init__(self, path: Path):
        self._path = path
        self.rows: dict[Key, Row] = {tuple(row[column] for column in KEY): row for row in read_rows(path)}

    def write(self) -> None:
        """Write the file."""
        write_table(self._path, COLUMNS, self.rows.values())

    def at(self, place: Key) -> list[Row]:
        """The rows of a layer."""
        return [row for key, row in self.rows.items() if key[: len(place)] == place]

    def areas(self, place: Key) -> dict[str, str]:
        """The areas under the loss curves of a layer that are known, by removal order."""
        return {row["order"]: row["auc_loss"] for row in self.at(place) if row["auc_loss"]}


def score_layer(
    case: Case, place: Key, table: Table, draws: Sequence[tuple[Family, int, int]], truth: UnitScores
) -> None:
    """Score a layer by families, sizes and repeats, and write the table after each."""
    layer, areas = place[-1], table.areas(place)
    warm: set[str] = set()
    for family, size, repeat in draws:
        if family.criterion not in {*warm, CONVERGED}:  # the first call of a kind pays for what all later ones find
            _score(case, layer, family, 1, repeat)
            warm.add(family.criterion)
        scores, made = (truth, 0.0) if family.criterion == CONVERGED else _score(case, layer, family, size, repeat)
        for how in AGGREGATES:
            order = " ".join(map(str, scores.order(how).tolist()))
            key = (*place, family.name, str(size), str(repeat), how)
            measured = {
                "units": case.layers[layer],
                "evaluations": scores.evaluations,
                "seconds": round(scores.seconds, 6),
                "game_seconds": round(made, 6),
                **likeness(scores, truth, how),
                "auc_loss": areas.get(order, ""),
                "order": order,
            }
            table.rows[key] = dict(zip(KEY, key, strict=True)) | {name: str(value) for name, value in measured.items()}
        table.write()
        print(f"{case.net} {layer}: {family.name} {size}, repeat {repeat}: {scores.seconds:.3f} s", flush=True)


def converged(case: Case, layer: str, walks: int, cache: Path) -> UnitScores:
    """The converged values of a layer, from the folder or made now; ``draws`` are the means of two halves of the walks.

    It goes on from the last walk when it was cut off.
    """
    images = len(case.scoring[0])
    path = cache / f"{case.net}-{case.digest}" / f"{layer}-{images}images-{walks}walks.npz"
    if not path.exists():
        unfinished = path.with_suffix(".checkpoint")
        made = shapley.permutation(case.game(layer), walks, antithetic=True, seed=_OTHER_DRAWS, checkpoint=unfinished)
        assert made.draws is not None
        halves = torch.stack([made.draws[half::2].mean(0) for half in (0, 1)])
        with whole(path) as temporary:
            cost = np.array([made.evaluations, made.seconds])
            np.savez(temporary, values=made.values.cpu().numpy(), halves=halves.cpu().numpy(), cost=cost)
        unfinished.unlink(missing_ok=True)
    with np.load(path, allow_pickle=False) as arrays:
        values, halves = (torch.from_numpy(arrays[name]) for name in ("values", "halves"))
        evaluations, seconds = arrays["cost"].tolist()
    return UnitScores(values, CONVERGED, evaluations, seconds, halves)


def likeness(scores: UnitScores, truth: UnitScores, how: str) -> dict[str, float]:
    """Spearman correlation with the converged values, the share of their lowest quarter in common, and the Spearman
    correlation of two halves of the converged values with each other.
    """
    assert truth.draws is not None
    found, true = (each.aggregate(how).cpu().numpy() for each in (scores, truth))
    one, other = (aggregate(half, how).cpu().numpy() for half in truth.draws)
    return {
        "spearman": spearman(found, true),
        "overlap": bottom_overlap(found, true),
        "split_half": spearman(one, other),
    }


def add_areas(case: Case, place: Key, table: Table) -> None:
    """Measure the areas under the loss curves of a layer that the table has not, once for equal orders."""
    layer, areas = place[-1], table.areas(place)
    orders = sorted({row["order"] for row in table.at(place)} - areas.keys())
    if not orders:
        return
    game = LayerGame(case.model, layer, *case.held_out)
    for start in track(range(0, len(orders), _TOGETHER), f"removal curves of {layer}"):
        some = orders[start : start + _TOGETHER]
        found = loss_areas(game, [[int(unit) for unit in order.split()] for order in some])
        areas |= dict(zip(some, map(str, found), strict=True))
        for row in table.at(place):
            row["auc_loss"] = areas.get(row["order"], "")
        table.write()


def loss_areas(game: LayerGame, orders: Sequence[Sequence[int]]) -> list[float]:
    """Areas under the loss curves of removal orders, as `shapprune.auc` has them, but all orders walked together."""
    walks = torch.tensor(orders)[:, None].expand(-1, len(game), -1)
    losses = -game.walk(walks).double().mean(2)
    return (losses[:, 1:] - losses[:, :1]).mean(1).tolist()


def _draws(families: Sequence[Family], repeats: int) -> Iterator[tuple[Family, int, int]]:
    """What to measure: family, size and repeat; what draws nothing, or takes long, is measured once."""
    for family in families:
        random = family.criterion in CATALOG and CATALOG[family.criterion].random
        for size in family.sizes:
            yield from ((family, size, repeat) for repeat in range(repeats if random else 1))


def _score(case: Case, layer: str, family: Family, size: int, repeat: int) -> tuple[UnitScores, float]:
    """Scores, and the seconds it took to make the game for them."""
    started = case.clock()
    game = case.game(layer)
    made = case.clock() - started
    if family.criterion != BASELINE:
        options = {**family.options, **({family.size: size} if family.size else {})}
        return score(game, family.criterion, seed=repeat, **options), made
    orders = np.stack([draw_orders(game, draw, repeat, shared=True)[0] for draw in range(size)])
    started = case.clock()
    values = walk_one_by_one(case.model, layer, *case.scoring, orders)
    return UnitScores(values, BASELINE, size * game.units + 1, case.clock() - started), 0.0


if __name__ == "__main__":
    sys.exit(run_program(main))
