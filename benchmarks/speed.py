"""How much faster the engine walks than TorchPruner's way, layer by layer, at the same orders and the same scores.

    python -m benchmarks.speed lenet5 resnet20 --images 100 --permutations 5 --out results/benchmarks/speed.csv
    python -m benchmarks.speed vgg16=path/to/vgg16.safetensors --images 100 --permutations 1

A network is named alone (fresh weights; its activations are less sparse than a trained network's) or with its weights.
Both ways are run on the same images in the same process, one after the other for each layer. The start is what does not
depend on the number of orders, above all the part of the network before the layer; `ratio` is of start and walk
together, `walk_ratio` of the walks alone.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from benchmarks.baseline import walk_one_by_one
from benchmarks.cases import Case, arguments, make_case
from shapprune import shapley
from shapprune.tables import write_table

SECONDS = ("baseline_start", "baseline_walk", "engine_start", "engine_walk")
_WARM = 8
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
        rows += measure(make_case(network, given.images, only=given.layers, device=given.device), given.permutations)
        write_table(given.out, COLUMNS, rows)


def measure(case: Case, permutations: int) -> list[dict[str, object]]:
    """A row a layer of one network, and one for all of them."""
    model, (images, labels) = case.model, case.scoring
    rows = []
    about = {"net": case.net, "weights": case.weights, "images": len(images), "permutations": permutations}
    about |= {"device": case.device.type, "threads": torch.get_num_threads()}
    for layer, units in case.layers.items():
        orders = np.stack([np.random.default_rng(draw).permutation(units) for draw in range(permutations)])
        # The first call of a kind pays for what all later ones find there; a few steps are enough.
        walk_one_by_one(model, layer, images, labels, orders[:1, :_WARM])
        shapley.permutation(case.game(layer), orders=orders[:1], depth=min(1.0, _WARM / units))
        started = case.clock()
        walk_one_by_one(model, layer, images, labels, orders[:0])
        at_layer = case.clock()
        expected = walk_one_by_one(model, layer, images, labels, orders)
        between = case.clock()
        game = case.game(layer)
        ready = case.clock()
        found = shapley.permutation(game, orders=orders).values
        ended = case.clock()
        start = at_layer - started
        seconds = (start, between - at_layer - start, ready - between, ended - ready)
        row = about | {"layer": layer, "units": units, **ratios(*seconds)}
        row["active"] = round(float(game.active_units.double().mean()), 3)
        row["largest_difference"] = float((found - expected).abs().max())
        rows.append(row)
        print({key: row[key] for key in COLUMNS[2:]}, flush=True)
    sums = [sum(float(str(row[column])) for row in rows) for column in SECONDS]
    total = about | {
        "layer": "all",
        "units": sum(int(str(row["units"])) for row in rows),
        "active": "",
        **ratios(*sums),
    }
    total["largest_difference"] = max(float(str(row["largest_difference"])) for row in rows)
    print(
        f"{case.net}: {total['ratio']} times faster over all layers, {total['walk_ratio']} without the start",
        flush=True,
    )
    return [*rows, total]


def ratios(*seconds: float) -> dict[str, object]:
    """The columns of times."""
    baseline_start, baseline_walk, engine_start, engine_walk = seconds
    return {
        **{name: round(each, 4) for name, each in zip(SECONDS, seconds, strict=True)},
        "ratio": round((baseline_start + baseline_walk) / (engine_start + engine_walk), 2),
        "walk_ratio": round(baseline_walk / engine_walk, 2),
    }


if __name__ == "__main__":
    main()
