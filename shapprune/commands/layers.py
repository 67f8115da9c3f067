"""``layers``: the layers of a network whose units can be removed."""

from __future__ import annotations

import argparse
import json

from shapprune.commands.arguments import Subparsers, mapping, new_command
from shapprune.core.errors import ShapPruneError, unknown


def add_command(commands: Subparsers) -> None:
    """Add the command with its arguments."""
    parser = new_command(
        commands,
        "layers",
        run,
        "list the layers of a network whose units can be removed",
        "List the layers of a network whose units can be removed, in the form that config.yaml takes.",
        "--architecture my_package.models:build --data cifar10",
    )
    parser.add_argument("--architecture", required=True, help="a name, or package.module:function of your own")
    parser.add_argument("--options", help="options of the builder, as YAML, e.g. '{width: 64}'")
    parser.add_argument("--data", help="a data set that has images of the right shape")
    parser.add_argument("--shape", type=int, nargs="+", help="or the shape itself, e.g. 3 32 32")


def run(given: argparse.Namespace) -> None:
    """Print the prunable layers of a network and their units as YAML, and the others as comments with the reason."""
    from shapprune.data.sets import DATASETS

    if (given.data is None) == (given.shape is None):
        raise ShapPruneError("give either --data or --shape, so that the network can be run once")
    if given.data is not None and given.data not in DATASETS:
        raise unknown("data set", given.data, DATASETS)
    options = mapping(given.options, "--options", "{width: 64}")

    import torch

    from shapprune.commands.network import build_network
    from shapprune.graph.prunable import prunable_layers

    shape = tuple(given.shape) if given.shape else DATASETS[given.data].shape
    found = prunable_layers(build_network(given.architecture, options, shape), torch.zeros(2, *shape), coupled=True)
    print("layers:")
    for layer in found:
        if layer.coupled is None:
            print(f"  {json.dumps(layer.name)}: {layer.units}")  # in quotes: "1" would be a number in YAML
        else:
            print(f"  # {layer.name}: {layer.coupled}")
