"""How good networks are that fit a budget, by how units are chosen, how the budget is split, and what mends them.

    python -m benchmarks.budgets resnet20=path/to/resnet20.th --draws 5 --out results/benchmarks/budgets.csv
    python -m benchmarks.budgets resnet56=path/to/resnet56.th --methods reconstruction distilled --budgets 0.5 --draws 3

Calibration images are drawn from the training images; all test images measure. All methods have the same images at the
same draw and the same budget of multiply-accumulates. A table that is there already is gone on with. `torch-pruning`
are the global rankings of Torch-Pruning's own pruner, BatchNorms estimated again; `asym-in-change` is the rule of El
Halabi et al. 2022, `channel-pruning` that of He et al. 2017.
"""

from __future__ import annotations

import argparse
import copy
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import torch_pruning as tp
from torch import Tensor, nn

from benchmarks.cases import arguments, open_network
from benchmarks.rivals import AsymInChange, ChannelPruning
from shapprune.core.tables import read_rows, write_table
from shapprune.data.prepared import draw_images, tensors
from shapprune.gpu.device import choose_device
from shapprune.graph.counting import count_macs
from shapprune.graph.operations import LAYERS
from shapprune.graph.prunable import prunable_layers
from shapprune.graph.unit_graph import UnitGraph
from shapprune.networks.evaluation import evaluate
from shapprune.pruning.batchnorm import reestimate_statistics
from shapprune.pruning.budget import Budget
from shapprune.pruning.divergence import agree, run
from shapprune.pruning.maker import How
from shapprune.pruning.shrink import Shrinker

REPAIRED = How(steps=0)
METHODS: dict[str, How] = {
    "reconstruction": REPAIRED,
    "distilled": How(augmentation=("flip", "shift")),
    "uniform": replace(REPAIRED, allocation="uniform"),
    "no repair": replace(REPAIRED, repair="none"),
    "batchnorm": replace(REPAIRED, repair="batchnorm"),
    "random": replace(REPAIRED, criterion="random"),
    "l1": replace(REPAIRED, criterion="weight-norm"),
    "l2": replace(REPAIRED, criterion="weight-norm", options={"norm": "l2"}),
    "taylor": replace(REPAIRED, criterion="taylor"),
    "coalition-gradient": replace(REPAIRED, criterion="coalition-gradient"),
    "rescored": replace(REPAIRED, criterion="rescored"),
    "l2 distilled": How(criterion="weight-norm", options={"norm": "l2"}, augmentation=("flip", "shift")),
    "distilled alone": How(repair="none", augmentation=("flip", "shift")),
    "l2 plain": How(criterion="weight-norm", options={"norm": "l2"}, allocation="uniform", repair="none", steps=0),
}
TORCH_PRUNING = {
    "torch-pruning magnitude": tp.importance.GroupMagnitudeImportance,
    "torch-pruning taylor": tp.importance.GroupTaylorImportance,
}
RIVALS = {"asym-in-change": AsymInChange, "channel-pruning": ChannelPruning}
ALL_METHODS = [*METHODS, *TORCH_PRUNING, *RIVALS]
COLUMNS = (
    *("net", "weights", "images", "draw", "method", "budget", "macs", "share"),
    *("agreement", "agreement_low", "agreement_high", "agreement_test", "loss", "accuracy", "accuracy_intact"),
    *("steps", "rate", "seconds"),
)


def main() -> None:
    """Run the benchmark and write its table."""
    parser = arguments(__doc__)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--budgets", type=float, nargs="+", default=[0.75, 0.5, 0.25], help="shares of the MACs")
    parser.add_argument("--methods", nargs="+", choices=ALL_METHODS, default=ALL_METHODS)
    parser.add_argument("--steps", type=int, help="of distilling; default: as many as fit five minutes")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/budgets.csv"))
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    rows: list[dict[str, Any]] = [*read_rows(given.out)]
    done = {_key(row) for row in rows}
    for network in given.networks:
        for row in measure(network, given, done):
            rows.append(row)
            write_table(given.out, COLUMNS, rows)
            print({key: row[key] for key in ("net", "draw", "method", "budget", "accuracy", "seconds")}, flush=True)


def measure(network: str, given: argparse.Namespace, done: set[tuple[str, ...]]) -> Iterator[dict[str, Any]]:
    """A row for each draw of images, method and budget of a network that is not there yet."""
    net, weights, model, image_set = open_network(network)
    model = model.to(choose_device(given.device))
    test = tensors(image_set, "test")
    intact, outputs = evaluate(model, *test)[1], run(model, test[0])
    for draw in range(given.draws):
        chosen = draw_images(np.arange(len(image_set.train_labels)), given.images, draw)
        images, labels = tensors(image_set, "train", chosen)
        for method in given.methods:
            about = {"net": net, "weights": weights, "images": given.images, "draw": draw, "method": method}
            missing = [share for share in given.budgets if _key({**about, "budget": share}) not in done]
            if not missing:
                continue
            for share, found in _shrink(model, images, labels, method, missing, given.steps, draw):
                small = found.pop("model")
                loss, accuracy = evaluate(small, *test)
                same = agree(outputs, run(small, test[0])).double().mean()
                measured = {"loss": loss, "accuracy": accuracy, "accuracy_intact": intact}
                yield about | {"budget": share, "agreement_test": float(same), **measured, **found}


def _shrink(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    method: str,
    shares: Sequence[float],
    steps: int | None,
    seed: int,
) -> Iterator[tuple[float, dict[str, Any]]]:
    """Networks by a method, with what is known of them."""
    whole, started = count_macs(model, images), time.perf_counter()
    if method not in METHODS:
        for share, small in _by_others(model, images, labels, method, shares):
            nothing = dict.fromkeys(("agreement", "agreement_low", "agreement_high", "steps", "rate"), "")
            yield share, _row(small, images, whole, started) | nothing
            started = time.perf_counter()
        return
    how = METHODS[method]
    shrinker = Shrinker(model, images, labels, replace(how, steps=steps if how.steps is None else how.steps, seed=seed))
    for share in shares:
        found = shrinker.shrink(Budget(macs=share))
        trained, rate = found.distilled or ("", "")
        names = ("agreement", "agreement_low", "agreement_high")
        yield (
            share,
            _row(found.model, images, whole, started)
            | dict(zip(names, found.agreement, strict=True))
            | {"steps": trained, "rate": rate},
        )
        started = time.perf_counter()


def _row(small: nn.Module, images: Tensor, whole: int, started: float) -> dict[str, Any]:
    macs = count_macs(small, images)
    seconds = round(time.perf_counter() - started, 2)
    return {
        "model": small,
        "macs": macs,
        "share": macs / whole,
        "seconds": seconds,
    }


def _by_others(
    model: nn.Module, images: Tensor, labels: Tensor, method: str, shares: Sequence[float]
) -> Iterator[tuple[float, nn.Module]]:
    """Networks by a method that is not of this project."""
    if method in RIVALS:
        rule = RIVALS[method](model, images)
        yield from ((share, rule.within(share * count_macs(model, images))) for share in shares)
    else:
        yield from (
            (share, _by_torch_pruning(model, images, labels, TORCH_PRUNING[method](), share)) for share in shares
        )


def _by_torch_pruning(model: nn.Module, images: Tensor, labels: Tensor, importance: Any, share: float) -> nn.Module:
    """A network by Torch-Pruning's own pruner with its global ranking, without training; inner layers only.

    BatchNorms see the images once more, which raises its accuracy.
    """
    small = copy.deepcopy(model).eval()
    free = {layer.name for layer in prunable_layers(model, images[:2])}
    ignored = [each for name, each in small.named_modules() if isinstance(each, LAYERS) and name not in free]
    with warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")
        pruner = tp.pruner.BasePruner(
            *(small, images[:2], importance),
            global_pruning=True,
            pruning_ratio=0.99,
            iterative_steps=200,
            ignored_layers=ignored,
        )
        limit = share * count_macs(model, images)
        while count_macs(small, images) > limit:
            small.zero_grad()
            F.cross_entropy(small(images), labels).backward()
            pruner.step()
    small.zero_grad()
    graph = UnitGraph(small, images[:2])
    with torch.no_grad():
        reestimate_statistics(small, graph, [name for name in graph.calls if name in free], images)
    return small


def _key(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in ("net", "weights", "images", "draw", "method", "budget"))


if __name__ == "__main__":
    main()
