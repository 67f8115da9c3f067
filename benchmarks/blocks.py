"""Blocks or channels for the same time? Residual branches taken out whole, against channels of all layers.

    python -m benchmarks.blocks resnet56=path/to/resnet56.th --counts 3 6 9 --out results/benchmarks/blocks.csv

The question is that of Wang and Wu 2023 (PRACTISE, https://arxiv.org/abs/2202.10461). Branches leave in the order of
`rescored` of `leave-one-out` by the payoff `kl`; channels by `reconstruction` and the damage that the outputs take, as
many as bring the network to the time of the one without the branches. Both are fitted by least squares to the same
training images, without labels, and nothing is trained. Times are processor time of passes of one image on one thread,
as a share of what the intact network takes in turns with them, so that other processes hardly count.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.cases import arguments, open_network
from shapprune import BranchGame, remove_branches, score
from shapprune.core.program import run_program
from shapprune.core.tables import write_table
from shapprune.data.prepared import draw_images, tensors
from shapprune.graph.counting import count_macs, count_parameters
from shapprune.networks.evaluation import evaluate
from shapprune.pruning.budget import Budget
from shapprune.pruning.maker import How, Maker
from shapprune.pruning.repair import REPAIRS_OF_BRANCHES
from shapprune.pruning.selection import Selector, Structure
from shapprune.pruning.widths import Widths

COLUMNS = (
    *("net", "weights", "images", "draw", "branches", "what", "repair", "share"),
    *("time_share", "milliseconds_intact", "macs", "parameters", "loss", "accuracy", "accuracy_intact"),
)
_PASSES, _ROUNDS = 4, 15
# The least share of the multiply-accumulates that channels are pruned to, and how often the range of shares is halved.
_LEAST, _STEPS = 0.05, 6


def main() -> None:
    """Run the benchmark and write its table."""
    parser = arguments(__doc__)
    parser.add_argument("--counts", type=int, nargs="+", default=[3, 6, 9], help="how many branches leave")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--test-images", type=int, default=10_000)
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/blocks.csv"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for network in given.networks:
        for row in measure(network, given):
            rows.append(row)
            write_table(given.out, COLUMNS, rows)
            print({key: row[key] for key in COLUMNS[3:]}, flush=True)


def measure(network: str, given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A row for each draw of images, number of branches, and network made by taking out these or channels."""
    net, weights, model, image_set = open_network(network)
    test = tensors(image_set, "test", np.arange(given.test_images))
    intact = evaluate(model, *test)[1]
    for draw in range(given.draws):
        chosen = draw_images(np.arange(len(image_set.train_labels)), given.images, draw)
        images = tensors(image_set, "train", chosen)[0]
        about = {"net": net, "weights": weights, "images": given.images, "draw": draw, "accuracy_intact": intact}
        for row, small in compare(model, images, given.counts):
            loss, accuracy = evaluate(small, *test)
            sizes = {"macs": count_macs(small, images[:1]), "parameters": count_parameters(small)}
            yield about | row | sizes | {"loss": loss, "accuracy": accuracy}


def compare(model: nn.Module, images: Tensor, counts: Sequence[int]) -> Iterator[tuple[dict[str, Any], nn.Module]]:
    """Networks without branches, and with fewer channels in the same time, each with what is known of it."""
    game = BranchGame(model, images, payoff="kl")
    scores = score(game, "rescored", of="leave-one-out", stages=game.units, aggregate="mean")
    order = [game.names[place] for place in scores.order("mean")]
    channels = Channels(model, images)
    for count in counts:
        without = {
            repair: remove_branches(model, order[:count], images, repair=repair) for repair in REPAIRS_OF_BRANCHES
        }
        limit, whole = time_share(without["none"], model, images[:1])
        times = {"branches": count, "milliseconds_intact": whole}
        for repair, small in without.items():
            yield times | {"what": "branches", "repair": repair, "share": "", "time_share": limit}, small
        if (share := channels.share_within(limit)) is None:
            print(f"channels alone cannot bring the network to {limit:.3g} of its time", flush=True)
            continue
        for repair in REPAIRS_OF_BRANCHES:
            small = channels.make(share, repair)
            taken, _ = time_share(small, model, images[:1])
            yield times | {"what": "channels", "repair": repair, "share": share, "time_share": taken}, small


class Channels:
    """A network with fewer channels, by `reconstruction` and the damage of layers; both are measured once.

    Args:
        model: the network.
        images: calibration images, [N, ...].
    """

    def __init__(self, model: nn.Module, images: Tensor):
        self._model, self._images, how = model, images, How(steps=0)
        self._structure = Structure.of(model, images[:2])
        self._damage = Selector(self._structure).damage(images)
        self._maker = Maker(self._structure, how)
        self._widths = Widths(self._structure, how, lambda: self._damage, images[:1])

    def make(self, share: float, repair: str = "none") -> nn.Module:
        """The network with a share of its multiply-accumulates."""
        orders = {layer: each.order for layer, each in self._damage.items()}
        small, removed = self._maker.remove(orders, self._widths.find(Budget(macs=share)), self._images)
        if repair != "none":
            self._maker.repair(small, removed, self._images, copies=0)
        return small

    def share_within(self, limit: float) -> float | None:
        """The largest share of the multiply-accumulates that takes such a share of the time; None if there is none."""
        sizes = self._structure.sizes
        narrowest = sizes.of(dict.fromkeys(sizes.full, 1))["macs"] / sizes.of({})["macs"]
        low, high = max(_LEAST, float(narrowest)), 1.0
        if self._time(low) > limit:
            return None
        for _ in range(_STEPS):
            middle = (low + high) / 2
            low, high = (middle, high) if self._time(middle) <= limit else (low, middle)
        return low

    def _time(self, share: float) -> float:
        return time_share(self.make(share), self._model, self._images[:1])[0]


@torch.inference_mode()
def time_share(small: nn.Module, model: nn.Module, example: Tensor) -> tuple[float, float]:
    """The time that a network takes as a share of another's, and the other's milliseconds of a pass.

    Both take turns; the medians of rounds count.
    """
    shares, whole = [], []
    for _ in range(_ROUNDS + 1):
        one, other = (_timed(network, example) for network in (small, model))
        shares.append(one / other)
        whole.append(other)
    return median(shares[1:]), median(whole[1:])  # the first round is to warm up


def _timed(network: nn.Module, example: Tensor) -> float:
    started = time.process_time()
    for _ in range(_PASSES):
        network(example)
    return (time.process_time() - started) / _PASSES * 1000


if __name__ == "__main__":
    sys.exit(run_program(main))
