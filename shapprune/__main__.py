"""The command line: ``python -m shapprune``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from shapprune.errors import ShapPruneError, unknown
from shapprune.sharing import merge_pointers

EXAMPLE = "example:\n  python -m shapprune layers --architecture my_package.models:build --data cifar10"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; a mistake is one sentence on standard error."""
    parser = argparse.ArgumentParser(
        prog="python -m shapprune", description="Shapley-value pruning of neural networks."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    layers = commands.add_parser(
        "layers",
        help="list the layers of a network whose units can be removed",
        description="List the layers of a network whose units can be removed, in the form that config.yaml takes.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    layers.add_argument("--architecture", required=True, help="a name, or package.module:function of your own")
    layers.add_argument("--options", default="{}", help="options of the builder, as YAML, e.g. '{width: 64}'")
    layers.add_argument("--data", help="a data set that has images of the right shape")
    layers.add_argument("--shape", type=int, nargs="+", help="or the shape itself, e.g. 3 32 32")
    merge = commands.add_parser(
        "merge-pointers",
        help="unite two versions of data/store.dvc; git calls this in a merge",
        description="Write the pointer of the union of two versions of the store over the first of them.",
    )
    merge.add_argument("ours", type=Path)
    merge.add_argument("theirs", type=Path)
    given = parser.parse_args(arguments)
    try:
        if given.command == "layers":
            list_layers(given.architecture, given.options, given.data, given.shape)
        else:
            merge_pointers(given.ours, given.theirs)
    except ShapPruneError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def list_layers(architecture: str, options: str, data: str | None, shape: Sequence[int] | None) -> None:
    """Print the prunable layers of a network and their units as YAML, and the others as comments with the reason."""
    from shapprune.data import DATASETS

    if (data is None) == (shape is None):
        raise ShapPruneError("give either --data or --shape, so that the network can be run once")
    if data is not None and data not in DATASETS:
        raise unknown("data set", data, DATASETS)
    try:
        settings = yaml.safe_load(options)
    except yaml.YAMLError as error:
        raise ShapPruneError(f"--options {options!r} is not YAML: {error}") from error
    if not isinstance(settings, dict):
        raise ShapPruneError(f"--options {options!r} is not a mapping such as '{{width: 64}}'")

    import torch

    from shapprune.networks import build
    from shapprune.units import prunable_layers

    size = tuple(shape) if shape else DATASETS[str(data)].shape
    model = build(architecture, shape=size, **settings)  # type: ignore[arg-type]
    found = prunable_layers(model, torch.zeros(2, *size), coupled=True)
    print("layers:")
    for layer in found:
        if layer.coupled is None:
            print(f"  {json.dumps(layer.name)}: {layer.units}")  # in quotes: "1" would be a number in YAML
        else:
            print(f"  # {layer.name}: {layer.coupled}")


if __name__ == "__main__":
    sys.exit(main())
