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
        "Print loss, accuracy, parameters and multiply-accumulate operations of a network, as YAML. With the --data,\n"
        "--seed and --evaluate of a call of prune, the same images are taken.",
        "--model small/model.safetensors --data photos/",
    )
    add_network(parser, "--model")
    add_data(parser)


def run(arguments: argparse.Namespace) -> None:
    """Measure the network and print what was found.

    Raises:
        ShapPruneError: a bad argument.
    """
    from shapprune.commands.images import open_images
    from shapprune.commands.measuring import check_fit, measure
    from shapprune.commands.network import open_checkpoint
    from shapprune.gpu.device import choose_device
    from shapprune.graph.counting import count_macs, count_parameters

    device = choose_device(arguments.device)
    checkpoint = open_checkpoint(arguments)
    data = open_images(arguments, checkpoint)
    places = data.draw("evaluation", arguments.evaluate, arguments.seed)
    model = checkpoint.network(data.shape).to(device)
    example = data.evaluation.read(places[:1]).to(device)
    check_fit(model, example, data)
    loss, accuracy = measure(model, data.evaluation, places)
    print(f"# {data}")
    measured = {
        "loss": loss,
        "accuracy": accuracy,
        "parameters": count_parameters(model),
        "macs": count_macs(model, example),
        "images": len(places),
    }
    print(yaml.safe_dump(measured, sort_keys=False), end="")
