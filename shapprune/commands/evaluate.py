"""``evaluate``: loss, accuracy and size of a network."""

from __future__ import annotations

import argparse

import yaml

from shapprune.commands.arguments import Subparsers, add_data, add_network, new_command


def add_command(commands: Subparsers) -> None:
    """Add the command with its arguments."""
    parser = new_command(
        commands,
        "evaluate",
        run,
        "measure loss, accuracy and size of a network",
        "Print loss, accuracy, parameters and multiply-accumulate operations of a network, as YAML. The same --data,\n"
        "--seed and --evaluate as of prune take the same images.",
        "--model small/model.safetensors --data photos/",
    )
    add_network(parser, "--model")
    add_data(parser)


def run(given: argparse.Namespace) -> None:
    """Print what was measured.

    Raises:
        ShapPruneError: a bad argument.
    """
    from shapprune.commands.images import check_fit, measure, open_images
    from shapprune.commands.network import open_checkpoint
    from shapprune.gpu.device import choose_device
    from shapprune.graph.counting import count_macs, count_parameters

    device = choose_device(given.device)
    checkpoint = open_checkpoint(given)
    data = open_images(given, checkpoint)
    places = data.draw("evaluation", given.evaluate, given.seed)
    model = checkpoint.network(data.shape).to(device)
    example = data.evaluation.read(places[:1]).to(device)
    check_fit(model, example, data)
    loss, accuracy = measure(model, data.evaluation, places)
    print(f"# {data}")
    found = {
        "loss": loss,
        "accuracy": accuracy,
        "parameters": count_parameters(model),
        "macs": count_macs(model, example),
        "images": len(places),
    }
    print(yaml.safe_dump(found, sort_keys=False), end="")
