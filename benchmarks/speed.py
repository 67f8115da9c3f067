"""How much faster the engine walks than TorchPruner's way, layer by layer, at the same orders and the same scores.

    python -m benchmarks.speed lenet5 resnet20 --images 100 --permutations 5 --out results/benchmarks/speed.csv
    python -m benchmarks.speed vgg16=path/to/vgg16.safetensors --images 100 --permutations 1

A network is named alone (fresh weights; its activations are less sparse than a trained network's) or with its weights.
Both ways are run on the same images in the same process, one after the other for each layer; of what takes less than a
second the fastest of several runs counts. The start is what does not
depend on the number of orders, above all the part of the network before the layer; `ratio` is of start and walk
together, `walk_ratio` of the walks alone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from benchmarks.baseline import walk_one_by_one
from benchmarks.cases import Case, arguments, make_case
from shapprune import shapley
from shapprune.core.program import run_program
from shapprune.core.tables import write_table

SECONDS = ("baseline_start", "baseline_walk", "engine_start", "engine_walk")
_WARM = 8  # steps
REPEATED = 3.0  # seconds in which a short run is repeated
T = TypeVar("T")
COLUMNS = (
    *("net", "weights", "layer", "units", "images", "permutations", "device", "threads"),
    *SECONDS,
    *("ratio", "walk_ratio", "active", "largest_difference"),
)


def main() -> None:
    """Run the benchmark and write its table."""
    parser = arguments(__doc__)
    parser.add_argument("--permutations", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/speed.csv"))
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    rows: list[dict[str, object]] = []
    for network in given.networks:
        for row in measure(
            make_case(network, given.images, only=given.layers, device=given.device), given.permutations
        ):
            rows.append(row)
            write_table(given.out, COLUMNS, rows)
            print({key: row[key] for key in COLUMNS[2:]}, flush=True)


def measure(case: Case, permutations: int, repeated: float = REPEATED) -> Iterator[dict[str, object]]:
    """A row a layer of one network, and one for all of them; short runs are repeated for so many seconds."""
    about = {"net": case.net, "weights": case.weights, "images": len(case.scoring[0]), "permutations": permutations}
    about |= {"device": case.device.type, "threads": torch.get_num_threads()}
    rows: list[dict[str, object]] = []
    for layer in case.layers:
        rows.append(about | _measure_layer(case, layer, permutations, repeated))
        yield rows[-1]
    sums = [sum(float(str(row[column])) for row in rows) for column in SECONDS]
    total = about | {"layer": "all", "units": sum(case.layers.values()), "active": "", **ratios(*sums)}
    yield total | {"largest_difference": max(float(str(row["largest_difference"])) for row in rows)}


def _measure_layer(case: Case, layer: str, permutations: int, repeated: float) -> dict[str, object]:
    units = case.layers[layer]
    orders = np.stack([np.random.default_rng(draw).permutation(units) for draw in range(permutations)])

    def baseline(orders: np.ndarray) -> Tensor:
        return walk_one_by_one(case.model, layer, *case.scoring, orders)

    # The first call of a kind pays for what all later ones find there; a few steps are enough.
    baseline(orders[:1, :_WARM])
    shapley.permutation(case.game(layer), orders=orders[:1], depth=min(1.0, _WARM / units))
    start, _ = _timed(case, repeated, lambda: baseline(orders[:0]))
    slow, expected = _timed(case, repeated, lambda: baseline(orders))
    ready, game = _timed(case, repeated, lambda: case.game(layer))
    games = iter(lambda: case.game(layer), None)  # a new one for each run: none finds what another has prepared
    fast, found = _timed(case, repeated, lambda fresh: shapley.permutation(fresh, orders=orders).values, games)
    return {
        "layer": layer,
        "units": units,
        **ratios(start, slow - start, ready, fast),
        "active": round(float(game.active_units.double().mean()), 3),
        "largest_difference": float((found - expected).abs().max()),
    }


def _timed(
    case: Case, repeated: float, run: Callable[..., T], given: Iterator[object] | None = None
) -> tuple[float, T]:
    """The least seconds of a few runs, one where it takes long; and what the last of them returned.

    ``given`` is what each run is given, made before its time begins.
    """
    least, spent = float("inf"), 0.0
    while spent < repeated:
        with_it = [] if given is None else [next(given)]
        started = case.clock()
        result = run(*with_it)
        seconds = case.clock() - started
        least, spent = min(least, seconds), spent + seconds
    return least, result


def ratios(*seconds: float) -> dict[str, object]:
    """The columns of times."""
    baseline_start, baseline_walk, engine_start, engine_walk = seconds
    return {
        **{name: round(each, 4) for name, each in zip(SECONDS, seconds, strict=True)},
        "ratio": round((baseline_start + baseline_walk) / (engine_start + engine_walk), 2),
        "walk_ratio": round(baseline_walk / engine_walk, 2),
    }


if __name__ == "__main__":
    sys.exit(run_program(main))
