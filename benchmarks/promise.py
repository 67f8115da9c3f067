"""Is the promise kept? The agreement that is told of a smaller network, against what test images say later.

    python -m benchmarks.promise resnet32=path/to/resnet32.th --draws 10 --out results/benchmarks/promise.csv

Networks are made to fit budgets by `shapprune.prune` without distilling. They are calibrated with images that the
network was trained on, and with as many that it has never seen: test images, which then do not count. A table that is
there is gone on with.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.cases import arguments, open_network
from shapprune.core.program import run_program
from shapprune.core.tables import read_rows, write_table
from shapprune.data.prepared import draw_images, rest, tensors
from shapprune.gpu.device import choose_device
from shapprune.pruning.budget import Budget
from shapprune.pruning.divergence import agree, run
from shapprune.pruning.maker import How
from shapprune.pruning.shrink import Shrinker

COLUMNS = (
    *("net", "weights", "images", "calibrated_on", "draw", "budget"),
    *("agreement", "agreement_low", "agreement_high", "agreement_test", "kept"),
)
SOURCES = ("train", "test")


def main() -> None:
    """Run the benchmark and write its table."""
    parser = arguments(__doc__)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--budgets", type=float, nargs="+", default=[0.5, 0.25], help="shares of the MACs")
    parser.add_argument("--from", dest="sources", choices=SOURCES, nargs="+", default=SOURCES)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/promise.csv"))
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    rows: list[dict[str, Any]] = list(read_rows(given.out))
    for network in given.networks:
        for row in measure(network, given, rows):
            rows.append(row)
            write_table(given.out, COLUMNS, rows)
            print({key: row[key] for key in COLUMNS[3:]}, flush=True)


def measure(network: str, given: argparse.Namespace, rows: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A row for each draw of images, where they are from, and budget, if it is not there yet."""
    net, weights, model, image_set = open_network(network)
    device, pool = choose_device(given.device), np.arange(len(image_set.test_labels))
    model.to(device)
    there = {tuple(str(row[key]) for key in COLUMNS[:6]) for row in rows}
    for draw in range(given.draws):
        for source in given.sources:
            about = {"net": net, "weights": weights, "images": given.images, "calibrated_on": source, "draw": draw}
            wanted = [each for each in given.budgets if (*map(str, about.values()), str(each)) not in there]
            if not wanted:
                continue
            of = pool if source == "test" else np.arange(len(image_set.train_labels))
            chosen = draw_images(of, given.images, draw)
            calibration = tensors(image_set, source, chosen)[0].to(device)
            unseen = tensors(image_set, "test", rest(pool, chosen) if source == "test" else pool)[0].to(device)
            how = How(steps=0, seed=draw, augmentation=("flip", "shift"))
            shrinker, whole = Shrinker(model, calibration, how=how), run(model, unseen)
            for budget in wanted:
                small = shrinker.shrink(Budget(macs=budget))
                found = float(agree(whole, run(small.model, unseen)).mean())
                names = ("agreement", "agreement_low", "agreement_high")
                row = about | {"budget": budget} | dict(zip(names, small.agreement, strict=True))
                inside = small.agreement.low <= found <= small.agreement.high
                yield row | {"agreement_test": found, "kept": "yes" if inside else "no"}


if __name__ == "__main__":
    sys.exit(run_program(main))
