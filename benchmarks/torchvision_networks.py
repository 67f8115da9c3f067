"""What can be done with torchvision's classification networks: cut, scored, removed from, made to fit a budget.

    python -m benchmarks.torchvision_networks resnet18 densenet121 --budget
    python -m benchmarks.torchvision_networks all --out results/benchmarks/torchvision.csv

Weights are random, BatchNorms too. Every listed layer is scored by `taylor`, and loses three units together with
all others; what is left is compared with the network whose units are zero. A network that is in the table already is
not looked at again. A table in Markdown is written beside it.
"""

from __future__ import annotations

import argparse
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from shapprune import LayerGame, PrunableLayer, ShapPruneError, prunable_layers, prune, remove_units, score
from shapprune.core.tables import read_rows, write_table
from shapprune.data.vision import torchvision
from shapprune.graph.outputs import find_difference
from shapprune.networks.modes import mode
from shapprune.networks.randomness import seeded
from shapprune.pruning.removal import mask_units

SIDES = {"inception_v3": 96, "vit": 224, "maxvit": 224}  # of images, by how the name begins; else `SIDE`
SIDE = 64
CLASSES = 10
BUDGET = 0.5
COLUMNS = (
    *("net", "side", "layers", "alone", "together", "whole", "reason", "reasons", "scored"),
    *("removed", "difference", "share", "seconds", "refused"),
)


def main() -> None:
    """Run the benchmark and write its tables."""
    known = torchvision.models.list_models(module=torchvision.models)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="+", choices=["all", *known], metavar="NET", help="names, or all")
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--budget", action="store_true", help="also fit half of the MACs, which takes a while")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/torchvision.csv"))
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    rows: list[Mapping[str, Any]] = [*read_rows(given.out)]
    for name in known if "all" in given.networks else given.networks:
        found = next((row for row in rows if row["net"] == name), None)
        if found and (found["share"] != "" or not given.budget):
            continue
        rows = [row for row in rows if row is not found] + [measure(name, given.images, given.budget)]
        write_table(given.out, COLUMNS, rows)
        given.out.with_suffix(".md").write_text("\n".join(markdown(rows)) + "\n", encoding="utf-8")
        print(rows[-1], flush=True)


def measure(name: str, count: int, budget: bool = False) -> dict[str, Any]:
    """A row of the table for a network."""
    side = next((each for start, each in SIDES.items() if name.startswith(start)), SIDE)
    started = time.perf_counter()
    with seeded(0):
        options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        model = torchvision.models.get_model(name, weights=None, num_classes=CLASSES, **options)
        images, labels = torch.rand(count, 3, side, side), torch.randint(CLASSES, (count,))
        shake(model)
    row: dict[str, Any] = dict.fromkeys(COLUMNS, "") | {"net": name, "side": side}
    try:
        row |= look(model.eval(), images, labels)
        if budget:
            row["share"] = fit(model, images)
    except ShapPruneError as error:
        row["refused"] = str(error)
    return row | {"seconds": round(time.perf_counter() - started, 1)}


def shake(model: nn.Module) -> None:
    """Make biases, BatchNorms and scales of channels other than 0 and 1, so that they hide no mistake."""
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            if tensor.is_floating_point() and tensor.dim() and tensor.numel() == max(tensor.shape):
                tensor += 0.2 * torch.rand_like(tensor)


def look(model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, Any]:
    """Which layers can lose units, whether they can be scored, and what is left where all of them lose some."""
    layers = prunable_layers(model, images, coupled=True)
    listed = [each for each in layers if each.group]
    whole = Counter(kind_of(each) for each in layers if not each.group)
    scored = sum(score(LayerGame(model, each.name, images, labels), "taylor").values.numel() > 0 for each in listed)
    chosen = {each.name: sorted({0, each.units // 2, each.units - 1})[: each.units - 1] for each in listed}
    small = remove_units(model, chosen, images) if chosen else model
    with torch.no_grad(), mode(small, training=False):
        difference = find_difference(small(images), mask_units(model, chosen, images))
    return {
        "layers": len(layers),
        "alone": sum(each.coupled is None for each in listed),
        "together": sum(each.coupled is not None for each in listed),
        "whole": len(layers) - len(listed),
        "reason": next((kind for kind, _ in whole.most_common(1)), ""),
        "reasons": "; ".join(f"{number} x {kind}" for kind, number in whole.most_common()),
        "scored": scored,
        "removed": sum(map(len, chosen.values())),
        "difference": difference if chosen else "",
    }


def kind_of(layer: PrunableLayer) -> str:
    """Why a layer stays whole, without the names and numbers that are its own."""
    return re.sub(r"\d+(?:_\d+)*|'[^']*'", "...", str(layer.coupled))


def fit(model: nn.Module, images: Tensor) -> float:
    """The share of the MACs that a network has that was made to fit half of them."""
    cost = prune(model, images, macs=BUDGET, steps=0, copies=0).cost
    share = cost["after"]["macs"] / cost["before"]["macs"]
    if share > BUDGET:
        raise ShapPruneError(f"{type(model).__name__} costs {share:.3f} of the MACs, more than {BUDGET}")
    return share


def markdown(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The table for the documentation."""
    lines = [
        "| network | side of images | layers | lose units alone | with others | stay whole | most of these because"
        " | largest difference from masking | MACs at a budget of 50 % | refused because |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda each: str(each["net"])):
        difference, share = (f"{float(row[name]):{form}}" if row[name] != "" else "–" for name, form in FORMS)
        cells = [*(row[name] for name in ("net", "side", "layers", "alone", "together", "whole", "reason"))]
        lines.append("| " + " | ".join(str(each) or "–" for each in [*cells, difference, share, row["refused"]]) + " |")
    return lines


FORMS = (("difference", ".0e"), ("share", ".1%"))

if __name__ == "__main__":
    main()
