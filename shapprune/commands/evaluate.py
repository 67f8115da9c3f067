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
    from shapprune.commands.measuring import check_fit, open_evaluation
    from shapprune.commands.network import open_checkpoint
    from shapprune.gpu.device import choose_device
    from shapprune.graph.counting import count_macs, count_parameters

    device = choose_device(arguments.device)
    checkpoint = open_checkpoint(arguments)
    data = open_images(arguments, checkpoint)
    evaluation = open_evaluation(data, arguments)
    if evaluation is None:
        raise data.classes_missing("accuracy", "give --evaluate-on with folders of classes")
    model = checkpoint.network(data.shape).to(device)
    example = evaluation.part.read(evaluation.places[:1]).to(device)
    check_fit(model, example, data)
    measured = evaluation.measure(model)
    print(f"# {data}")
    sizes = {"parameters": count_parameters(model), "macs": count_macs(model, example)}
    print(yaml.safe_dump({**measured, **sizes, "images": len(evaluation.places)}, sort_keys=False), end="")
