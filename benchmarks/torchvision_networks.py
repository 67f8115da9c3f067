"""What can be done with torchvision's classification networks: cut, scored, removed from, stored, made to fit a budget.

    python -m benchmarks.torchvision_networks families
    python -m benchmarks.torchvision_networks resnet18 densenet121 --budget
    python -m benchmarks.torchvision_networks all --out results/benchmarks/torchvision.csv

Weights are random, BatchNorms too. Every layer with a site is scored by `taylor`. A tenth of the units of every layer
that can lose some leave together; what is left is compared with the network whose units are zero, saved, loaded, and
exported to ONNX. A network that is in the table already is not looked at again. A table in Markdown is written beside
it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from shapprune import LayerGame, PrunableLayer, ShapPruneError, prunable_layers, prune, remove_units, score
from shapprune.core.files import whole
from shapprune.core.program import run_program
from shapprune.core.tables import read_rows, write_table
from shapprune.data.vision import torchvision
from shapprune.graph.outputs import find_difference
from shapprune.graph.refusals import without_names
from shapprune.networks.export import export_onnx
from shapprune.networks.modes import mode
from shapprune.networks.randomness import seeded
from shapprune.networks.storage import load, save
from shapprune.pruning.removal import mask_units

# The smallest network of each family; the others of it have the same blocks, but more or wider ones.
FAMILIES = (
    *("alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "googlenet", "inception_v3"),
    *("maxvit_t", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "regnet_x_400mf", "regnet_y_400mf", "resnet18"),
    *("resnet50", "resnext50_32x4d", "shufflenet_v2_x0_5", "squeezenet1_1", "swin_t", "swin_v2_t", "vgg11"),
    *("vgg11_bn", "vit_b_32", "wide_resnet50_2"),
)
# Sides of images, by how the name begins; else `SIDE`. ONNX knows no pooling to more places than a map has.
SIDES = {"alexnet": 224, "inception_v3": 96, "maxvit": 224, "vgg": 224, "vit": 224}
SIDE = 64
CLASSES = 10
SHARE = 0.1  # of the units of a layer
BUDGET = 0.5
COLUMNS = (
    *("net", "side", "layers", "scored", "alone", "together", "whole", "reason", "reasons"),
    *("removed", "difference", "loaded", "onnx", "share", "seconds", "refused"),
)


def main() -> None:
    """Run the benchmark and write its tables."""
    known = torchvision.models.list_models(module=torchvision.models)
    groups = {"all": known, "families": FAMILIES}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = "names, or all, or families for the smallest of each"
    parser.add_argument("networks", nargs="+", choices=[*groups, *known], metavar="NET", help=names)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--budget", action="store_true", help="also fit half of the MACs, which takes a while")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/torchvision.csv"))
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    networks = [each for name in given.networks for each in groups.get(name, [name])]
    run(networks, given.out, given.images, given.budget)


def run(networks: Sequence[str], out: Path, count: int, budget: bool = False) -> None:
    """Add the networks that a table lacks, and write it anew after each, also in Markdown."""
    rows: list[Mapping[str, Any]] = [*read_rows(out)]
    for name in networks:
        found = next((row for row in rows if row["net"] == name), None)
        if found and (found["share"] != "" or not budget):
            continue
        rows = [row for row in rows if row is not found] + [measure(name, count, budget)]
        write_table(out, COLUMNS, rows)
        with whole(out.with_suffix(".md")) as temporary:
            temporary.write_text("\n".join(markdown(rows)) + "\n", encoding="utf-8")
        print(rows[-1], flush=True)


def measure(name: str, count: int, budget: bool = False) -> dict[str, Any]:
    """A row of the table for a network."""
    side = next((each for start, each in SIDES.items() if name.startswith(start)), SIDE)
    started = time.perf_counter()
    with seeded(0):
        model = build(name)
        images, labels = torch.rand(count, 3, side, side), torch.randint(CLASSES, (count,))
        shake(model)
    row: dict[str, Any] = dict.fromkeys(COLUMNS, "") | {"net": name, "side": side}
    try:
        row |= look(model.eval(), images, labels, lambda: build(name))
        if budget:
            row["share"] = fit(model, images)
    except ShapPruneError as error:
        row["refused"] = str(error)
    return row | {"seconds": round(time.perf_counter() - started, 1)}


def build(name: str) -> nn.Module:
    """A network of torchvision with random weights."""
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    model: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=CLASSES, **options)
    return model


def shake(model: nn.Module) -> None:
    """Make biases, BatchNorms, scales of channels and layers other than 0 and 1, so that they hide no mistake."""
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            if tensor.is_floating_point() and tensor.dim() > 1 and not tensor.any():
                tensor.normal_(std=0.02)  # as the output layer of a ViT, which would put out the same for all images
            if tensor.is_floating_point() and tensor.dim() and tensor.numel() == max(tensor.shape):
                tensor += 0.2 * torch.rand_like(tensor)


def look(model: nn.Module, images: Tensor, labels: Tensor, again: Callable[[], nn.Module]) -> dict[str, Any]:
    """Which layers can lose units, whether they can be scored, and what is left where all of them lose some."""
    layers = prunable_layers(model, images, coupled=True)
    listed = [each for each in layers if each.group]
    reasons = Counter(without_names(str(each.coupled)) for each in layers if not each.group)
    refused = [why for each in layers if each.site and (why := score_layer(model, each.name, images, labels))]
    row: dict[str, Any] = {
        "layers": len(layers),
        "scored": sum(each.site is not None for each in layers) - len(refused),
        "refused": refused[0] if refused else "",
        "alone": sum(each.coupled is None for each in listed),
        "together": sum(each.coupled is not None for each in listed),
        "whole": len(layers) - len(listed),
        "reason": next((kind for kind, _ in reasons.most_common(1)), ""),
        "reasons": "; ".join(f"{number} x {kind}" for kind, number in reasons.most_common()),
    }
    if chosen := draw_units(listed):
        small = remove_units(model, chosen, images)
        row["removed"] = sum(map(len, chosen.values()))
        row["difference"] = find_difference(outputs_of(small, images), mask_units(model, chosen, images))
        row |= store(small, images, again)
    return row


def score_layer(model: nn.Module, layer: str, images: Tensor, labels: Tensor) -> str:
    """Score a layer by `taylor`; return why that was refused, if it was."""
    try:
        score(LayerGame(model, layer, images, labels), "taylor")
    except ShapPruneError as error:
        return str(error)
    return ""


def draw_units(layers: Sequence[PrunableLayer], seed: int = 0) -> dict[str, list[int]]:
    """Draw a tenth of the units of each layer, at least one; layers of a group lose the same."""
    random = np.random.default_rng(seed)
    chosen: dict[str, list[int]] = {}
    for group, units in {each.group: each.units for each in layers}.items():
        gone = random.choice(units, max(1, round(SHARE * units)), replace=False)
        chosen |= dict.fromkeys(group, sorted(gone.tolist()))
    return chosen


def store(small: nn.Module, images: Tensor, again: Callable[[], nn.Module]) -> dict[str, Any]:
    """How far the outputs of a network differ after it was saved and loaded, and whether it was exported to ONNX."""
    with tempfile.TemporaryDirectory() as folder:
        save(small, f"{folder}/small.safetensors")
        loaded = load(f"{folder}/small.safetensors", again)
        difference = find_difference(outputs_of(loaded, images), outputs_of(small, images))
        try:
            export_onnx(small, f"{folder}/small.onnx", images)
        except ShapPruneError as error:
            return {"loaded": difference, "onnx": str(error)}
    return {"loaded": difference, "onnx": "yes"}


def outputs_of(model: nn.Module, images: Tensor) -> object:
    """What a network puts out in eval mode."""
    with torch.no_grad(), mode(model, training=False):
        return model(images)


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
        "| network | side of images | layers | scored | lose units alone | with others | stay whole"
        " | most of these because | largest difference from masking | after loading | ONNX"
        " | MACs at a budget of 50 % | refused because |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda each: str(each["net"])):
        cells = [
            format(float(row[name]), FORMS[name]) if name in FORMS and row[name] != "" else row[name] for name in SHOWN
        ]
        lines.append("| " + " | ".join(str(each) if each != "" else "–" for each in cells) + " |")
    return lines


SHOWN = (
    *("net", "side", "layers", "scored", "alone", "together", "whole", "reason"),
    *("difference", "loaded", "onnx", "share", "refused"),
)
FORMS = {"difference": ".0e", "loaded": ".0e", "share": ".1%"}

if __name__ == "__main__":
    sys.exit(run_program(main))
