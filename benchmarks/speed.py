"""How much faster the engine walks than TorchPruner's way, layer by layer, at the same orders and the same scores.

    python -m benchmarks.speed lenet5 resnet20 --images 100 --permutations 5 --out results/benchmarks/speed.csv
    python -m benchmarks.speed vgg16=path/to/vgg16.safetensors --images 100 --permutations 1

A network is named alone (fresh weights; its activations are less sparse than a trained network's) or with its weights.
Both ways are run on the same images in the same process, one after the other for each layer. The start is what does not
depend on the number of orders, above all the part of the network before the layer; `ratio` is of start and walk
together, `walk_ratio` of the walks alone.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.baseline import walk_one_by_one
from shapprune import LayerGame, shapley
from shapprune.data import DATASETS, draw_images, load, tensors
from shapprune.networks import build, layer_table
from shapprune.networks.storage import load_weights
from shapprune.tables import write_table
from shapprune.training import seeded

DATA = {"lenet5": "fashion-mnist-sample", "fmnist_cnn": "fashion-mnist-sample", "mlp": "fashion-mnist-sample"}
SECONDS = ("baseline_start", "baseline_walk", "engine_start", "engine_walk")
COLUMNS = (
    *("net", "weights", "layer", "units", "images", "permutations", "threads"),
    *SECONDS,
    *("ratio", "walk_ratio", "active", "largest_difference"),
)


def main() -> None:
    """Run the benchmark and write its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="+", help="name, or name=weights")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--permutations", type=int, default=5)
    parser.add_argument("--layers", nargs="+", help="only these")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/speed.csv"))
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    rows: list[dict[str, object]] = []
    for text in given.networks:
        name, _, weights = text.partition("=")
        rows += measure(name, weights, given.images, given.permutations, given.layers)
        write_table(given.out, COLUMNS, rows)


def measure(name: str, weights: str, count: int, permutations: int, only: list[str] | None) -> list[dict[str, object]]:
    """A row a layer of one network, and one for all of them."""
    data = DATA.get(name, "cifar10")
    info = DATASETS[data]
    with seeded(0):
        model = build(name, shape=info.shape, classes=info.classes).eval()
    if weights:
        load_weights(model, weights)
    images, labels = tensors(load(data), "test", draw_images(np.arange(info.test), count, trial=0))
    rows = []
    about = {"net": name, "weights": Path(weights).name or "fresh", "images": count, "permutations": permutations}
    about |= {"threads": torch.get_num_threads()}
    for layer, units in layer_table(name, {}, info.shape).items():
        if only and layer not in only:
            continue
        orders = np.stack([np.random.default_rng(draw).permutation(units) for draw in range(permutations)])
        for run in (walk_one_by_one, _engine):  # the first call of a kind pays for what all later ones find there
            run(model, layer, images, labels, orders[:1])
        started = time.perf_counter()
        walk_one_by_one(model, layer, images, labels, orders[:0])
        at_layer = time.perf_counter()
        expected = walk_one_by_one(model, layer, images, labels, orders)
        between = time.perf_counter()
        game = LayerGame(model, layer, images, labels)
        ready = time.perf_counter()
        found = shapley.permutation(game, orders=orders).values
        ended = time.perf_counter()
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
    print(f"{name}: {total['ratio']} times faster over all layers, {total['walk_ratio']} without the start", flush=True)
    return [*rows, total]


def _engine(model: nn.Module, layer: str, images: Tensor, labels: Tensor, orders: np.ndarray) -> Tensor:
    return shapley.permutation(LayerGame(model, layer, images, labels), orders=orders).values


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
