"""``prune``: from a checkpoint to a smaller network."""

from __future__ import annotations

import argparse
from pathlib import Path

from shapprune.commands.arguments import MODEL, ONNX, Subparsers, add_data, add_network, add_scoring, new_command
from shapprune.commands.budgets import read_budgets
from shapprune.commands.combinations import by_scores, check_arguments, parts_of, read_target
from shapprune.pruning.budget import NAMES
from shapprune.pruning.repair import REPAIRS


def add_command(commands: Subparsers) -> None:
    """Add the command with its arguments."""
    parser = new_command(
        commands,
        "prune",
        run,
        "make a network smaller",
        "Make a network fit a budget with a few images, which need no labels: units leave that the layers behind them\n"
        "can make up for, the weights are fitted again, and the network is distilled on the same images. What to\n"
        "expect of it is said by images that were left out. The budget is a share of the present cost (50% or 0.5;\n"
        "every number below 1 is a share) or an absolute number (20000000, 20M, 600k).",
        "--checkpoint net.pth --architecture my_package.models:build --data photos/ --macs 50% --out small/",
    )
    add_network(parser)
    add_data(parser)
    _add_budget(parser)
    _add_making(parser)
    add_scoring(
        parser,
        "reconstruction, coalition-gradient where units leave by scores, leave-one-out for branches and blocks",
        "; only where units leave by scores",
    )
    _add_by_scores(parser)
    _add_parts(parser)
    group = parser.add_argument_group("results")
    group.add_argument("--out", type=Path, required=True, metavar="FOLDER", help=f"where {MODEL} and model.json go")
    group.add_argument("--onnx", action="store_true", help=f"write {ONNX} too (pip install 'shapprune[onnx]')")
    group.add_argument("--batch", type=int, default=1, metavar="N", help="images in a timed pass; default: 1")
    group.add_argument("--threads", type=int, metavar="N", help="threads of a timed pass; default: torch's")


def run(arguments: argparse.Namespace) -> None:
    """Prune, measure, write, and print a comparison of the networks.

    Raises:
        ShapPruneError: a bad argument; nothing is written then.
    """
    check_arguments(arguments)
    if parts_of(arguments)[0]:
        from shapprune.commands.skipping import skip_parts

        skip_parts(arguments)
    elif by_scores(arguments):
        target = read_target(arguments)
        from shapprune.commands.choosing import prune_by_scores

        prune_by_scores(arguments, target)
    else:
        budgets = read_budgets(arguments)
        from shapprune.commands.shrinking import fit_budgets

        fit_budgets(arguments, budgets)


def _add_budget(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say how small."""
    group = parser.add_argument_group("budget (give one)")
    for name, meaning in (
        ("macs", "multiply-accumulates of an image"),
        ("parameters", "parameters"),
        ("megabytes", "millions of bytes of parameters and buffers"),
        ("milliseconds", "milliseconds that an image takes on the device"),
    ):
        group.add_argument(f"--{name}", metavar="N", help=f"at most so many {meaning}, or this share of the present")
    group.add_argument("--ratio", metavar="R", help="this share of the units of each layer leaves")
    group.add_argument(
        "--budgets",
        nargs="+",
        metavar="N",
        help="several, e.g. 75%% 50%% 25%%: a network in a folder of its own for each, and tradeoff.csv, .svg and .png",
    )
    group.add_argument("--measure", choices=NAMES, help="what --budgets limit; default: macs")


def _add_making(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say how a network is made smaller."""
    group = parser.add_argument_group("how")
    group.add_argument(
        "--allocation",
        metavar="HOW",
        help="damage (default) splits a budget over layers by what the outputs lose, uniform takes the same share of"
        " each",
    )
    group.add_argument(
        "--repair",
        default="least-squares",
        metavar="HOW",
        help=f"mend what is left with the same images: {', '.join(REPAIRS)}; default: least-squares",
    )
    group.add_argument(
        "--copies",
        metavar="N",
        help="changed copies of each image, mixed with other images, that the repair sees beside it: auto (default)"
        " takes four if they help on images left out",
    )
    group.add_argument(
        "--distil",
        metavar="STEPS",
        help="train it on the same images to do what the intact network does: auto (default) takes as many steps as fit"
        " --minutes, and none where they do not help on images left out; none; or a number of steps",
    )
    group.add_argument("--minutes", type=float, metavar="M", help="that distilling may take, about; default: 5")
    group.add_argument(
        "--flip",
        action=argparse.BooleanOptionalAction,
        help="mirror images in copies and while distilling, never for digits, text or one-sided pictures; default: with"
        " 3 channels",
    )
    group.add_argument("--multiple", type=int, default=1, metavar="M", help="keep a multiple of M units in each layer")
    group.add_argument("--skip", nargs="+", default=[], metavar="LAYER", help="leave these layers whole")


def _add_by_scores(parser: argparse.ArgumentParser) -> None:
    """Add the arguments by which units leave by their scores alone."""
    group = parser.add_argument_group(
        "units that leave by scores",
        "With one of these, units leave layer by layer by the scores of labelled images alone: nothing is distilled,\n"
        "no agreement is said, and --ratio, --parameters and --macs (numbers) take the same share of all layers.",
    )
    group.add_argument("--widths", metavar="YAML", help="all but so many of these layers, e.g. '{conv1: 16}'")
    group.add_argument("--negative", action="store_true", default=None, help="those with a negative score")
    group.add_argument(
        "--loss-growth",
        type=float,
        metavar="G",
        help="in each layer, as many as let the loss on the scoring images grow by this share at most, e.g. 0.05",
    )
    group.add_argument("--scores", type=Path, metavar="FOLDER", help="use the scores that `score` has written")
    group.add_argument(
        "--sequential",
        action=argparse.BooleanOptionalAction,
        help="from the output, each layer scored on what is left of the network (default without --scores), or all"
        " layers on the whole network",
    )


def _add_parts(parser: argparse.ArgumentParser) -> None:
    """Add the arguments by which branches or blocks leave whole."""
    group = parser.add_argument_group(
        "branches and blocks that leave whole",
        "With one of these, so many leave one after the other, each time the one whose absence changes the outputs\n"
        "least, scored again with the others gone (--payoff is kl by default). Images need no classes. In the end the\n"
        "layers behind what is gone are fitted, unless --repair none says otherwise; nothing is distilled.",
    )
    for kind, what in (("branches", "residual branches"), ("blocks", "modules made of residual branches alone")):
        group.add_argument(f"--{kind}", type=int, metavar="N", help=f"so many {what}")
