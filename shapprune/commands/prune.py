"""``prune``: from a checkpoint to a smaller network."""

from __future__ import annotations

import argparse
from pathlib import Path

from shapprune.commands.arguments import (
    MODEL,
    ONNX,
    Subparsers,
    add_data,
    add_network,
    add_scoring,
    check_folder,
    new_command,
    read_mapping,
)
from shapprune.core.errors import ShapPruneError, unknown
from shapprune.pruning.repair import REPAIRS
from shapprune.pruning.target import MEASURES, Target


def add_command(commands: Subparsers) -> None:
    """Add the command with its arguments."""
    parser = new_command(
        commands,
        "prune",
        run,
        "make a network smaller",
        "Score the units of a network, remove those that matter least, and write the smaller network with a manifest\n"
        "of how it was made and what it has lost.",
        "--checkpoint net.pth --architecture my_package.models:build --data photos/ --ratio 0.5 --out small/",
    )
    add_network(parser)
    add_data(parser)
    add_scoring(parser)
    _add_target(parser)
    group = parser.add_argument_group("results")
    group.add_argument("--out", type=Path, required=True, metavar="FOLDER", help=f"where {MODEL} and model.json go")
    group.add_argument("--onnx", action="store_true", help=f"write {ONNX} too (pip install 'shapprune[onnx]')")
    group.add_argument("--batch", type=int, default=1, metavar="N", help="images in a timed pass; default: 1")
    group.add_argument("--threads", type=int, metavar="N", help="threads of a timed pass; default: torch's")


def run(arguments: argparse.Namespace) -> None:
    """Prune, measure, write, and print a comparison of the two networks.

    Raises:
        ShapPruneError: a bad argument; nothing is written then.
    """
    target = _check(arguments)
    from shapprune.commands.choosing import plan_pruning, prune
    from shapprune.commands.measuring import measure
    from shapprune.commands.results import measure_sizes, print_comparison, try_onnx, write_results
    from shapprune.commands.scoring import open_scoring

    scoring = open_scoring(arguments)
    plan = plan_pruning(arguments, scoring, target)
    places = scoring.data.draw("evaluation", arguments.evaluate, arguments.seed)
    example = scoring.data.evaluation.read(places[:8]).to(scoring.device)
    if arguments.onnx:
        try_onnx(scoring.model, example)
    print(scoring.data, flush=True)
    losses = [measure(scoring.model, scoring.data.evaluation, places)]  # first, to find an image that cannot be read
    print(f"before: loss {losses[0][0]:.4f}, accuracy {losses[0][1]:.4f} on {len(places)} images", flush=True)
    pruned = prune(scoring, plan)
    losses.append(measure(pruned.model, scoring.data.evaluation, places))
    sizes = measure_sizes([scoring.model, pruned.model], example, arguments)
    before, after = (
        {"loss": loss, "accuracy": accuracy, **size} for (loss, accuracy), size in zip(losses, sizes, strict=True)
    )
    measured = {"before": before, "after": after, "evaluation_images": len(places)}
    write_results(arguments, scoring, pruned, measured, example)
    print_comparison(before, after)


def _add_target(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say which units leave."""
    group = parser.add_argument_group("which units leave")
    choice = group.add_mutually_exclusive_group(required=True)
    choice.add_argument("--ratio", type=float, metavar="R", help="this share of the units of each layer")
    choice.add_argument("--widths", metavar="YAML", help="all but so many of these layers, e.g. '{conv1: 16}'")
    choice.add_argument("--negative", action="store_true", help="those with a negative score")
    choice.add_argument(
        "--loss-growth",
        type=float,
        metavar="G",
        help="in each layer, as many as let the loss on the scoring images grow by this share at most, e.g. 0.05",
    )
    choice.add_argument("--parameters", type=int, metavar="N", help="until the network has at most N parameters")
    choice.add_argument("--macs", type=int, metavar="N", help="until an image takes at most N multiply-accumulates")
    group.add_argument("--multiple", type=int, default=1, metavar="M", help="keep a multiple of M units in each layer")
    group.add_argument("--skip", nargs="+", default=[], metavar="LAYER", help="leave these layers whole")
    group.add_argument("--scores", type=Path, metavar="FOLDER", help="use the scores that `score` has written")
    group.add_argument(
        "--sequential",
        action=argparse.BooleanOptionalAction,
        help="prune layer by layer from the output, each scored on what is left of the network; default without"
        " --scores",
    )
    group.add_argument(
        "--repair",
        default="none",
        metavar="HOW",
        help=f"mend what is left with the scoring images after each step: {', '.join(REPAIRS)}; default: none",
    )


def _check(arguments: argparse.Namespace) -> Target:
    """Raise for what is wrong whatever the network is, before anything is loaded; return the target."""
    check_folder(arguments.out)
    for name in ("batch", "threads"):
        if getattr(arguments, name) is not None and getattr(arguments, name) < 1:
            raise ShapPruneError(f"--{name} {getattr(arguments, name)} is not 1 or more")
    if arguments.repair not in REPAIRS:
        raise unknown("repair", arguments.repair, REPAIRS)
    if arguments.scores is not None:
        for name in ("criterion", "criterion_options", "payoff", "sequential"):
            if getattr(arguments, name):
                option = f"--{name.replace('_', '-')}"
                raise ShapPruneError(f"{option} cannot be given with --scores, which were made before")
    if arguments.onnx:
        from shapprune.networks.export import require_onnx

        require_onnx()
    measures = {name: getattr(arguments, name) for name in MEASURES}
    if arguments.widths is not None:  # a layer called 0 is a number in YAML
        widths = read_mapping(arguments.widths, "--widths", "{conv1: 16}")
        measures["widths"] = {str(layer): width for layer, width in widths.items()}
    return Target(**measures, multiple=arguments.multiple)
