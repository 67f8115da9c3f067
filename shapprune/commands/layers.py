"""``layers``: the layers of a network whose units can be removed."""

from __future__ import annotations

import argparse
import json

from shapprune.commands.arguments import Subparsers, add_kinds, new_command, read_mapping
from shapprune.core.errors import ShapPruneError, unknown


def add_command(commands: Subparsers) -> None:
    """Add the command with its arguments."""
    parser = new_command(
        commands,
        "layers",
        run,
        "list the layers of a network whose units can be removed",
        "List the layers of a network whose units can be removed, as config.yaml takes them.",
        "--architecture my_package.models:build --data cifar10",
    )
    parser.add_argument("--architecture", required=True, help="a name, or package.module:function of your own")
    parser.add_argument("--options", help="options of the builder, as YAML, e.g. '{width: 64}'")
    parser.add_argument("--data", help="a data set with images of the right shape, or with tokens")
    parser.add_argument("--shape", type=int, nargs="+", help="or the shape of an image, e.g. 3 32 32")
    add_kinds(parser, "list")


def run(arguments: argparse.Namespace) -> None:
    """Print the prunable layers of a network and their units as YAML, and the others as comments with the reason.

    With ``--branches`` or ``--blocks`` print these and their parameters.

    Raises:
        ShapPruneError: a bad argument.
    """
    from shapprune.data.sets import DATASETS

    if (arguments.data is None) == (arguments.shape is None):
        raise ShapPruneError("give either --data or --shape, so that the network can be run once")
    if arguments.data is not None and arguments.data not in DATASETS:
        raise unknown("data set", arguments.data, DATASETS)
    options = read_mapping(arguments.options, "--options", "{width: 64}")

    import torch

    from shapprune.commands.network import build_network
    from shapprune.graph.prunable import UNITS, prunable_layers
    from shapprune.networks.tables import ARCHITECTURES
    from shapprune.pruning.branches import prunable_branches

    shape = tuple(arguments.shape) if arguments.shape else DATASETS[arguments.data].shape
    named = (ARCHITECTURES.get(arguments.architecture), DATASETS.get(arguments.data))
    numbers = torch.long if any(each is not None and each.tokens for each in named) else torch.float
    model = build_network(arguments.architecture, options, shape)
    example = torch.zeros(2, *shape, dtype=numbers)
    if arguments.kind is not None:
        print(f"{arguments.kind}:  # and their parameters")
        for part in prunable_branches(model, example, arguments.kind):
            print(f"  {json.dumps(part.name)}: {part.parameters}")
        return
    found = prunable_layers(model, example, coupled=True)
    print("layers:" if any(layer.coupled is None for layer in found) else "layers: {}")
    for layer in found:
        if layer.coupled is None:
            name = json.dumps(layer.name)  # in quotes: "1" would be a number in YAML
            print(f"  {name}: {layer.units}  # {UNITS[layer.kind]}")
        else:
            print(f"  # {layer.name}: {layer.coupled}")
    if not found:
        print(f"  # {type(model).__name__} has no convolution or linear layer but its output layer")
