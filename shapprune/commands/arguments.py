"""Arguments that several commands take. Importing this module costs nothing."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shapprune.core.errors import ShapPruneError
from shapprune.core.strict_yaml import parse_yaml
from shapprune.criteria.catalog import check_options, lookup_for
from shapprune.gpu.device import DEVICES

Subparsers = Any  # argparse names no type for it
MODEL, ONNX = "model.safetensors", "model.onnx"  # the files that prune writes
SCORED, EVALUATED = 100, 1000  # images that score or calibrate, and that measure accuracy, if there are so many
COALITION_GRADIENT = "coalition-gradient"


def new_command(
    commands: Subparsers,
    name: str,
    run: Callable[[argparse.Namespace], None],
    summary: str,
    description: str,
    example: str,
) -> argparse.ArgumentParser:
    """Add a command.

    Args:
        commands: what it is added to.
        name: of the command.
        run: runs it with its arguments.
        summary: a line for the list of commands.
        description: sentences for its own help.
        example: its arguments in an example.
    """
    parser = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=f"example:\n  python -m shapprune {name} {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def add_network(parser: argparse.ArgumentParser, file: str = "--checkpoint") -> None:
    """Add the arguments that name a network: a file of weights and what builds it."""
    group = parser.add_argument_group("network")
    group.add_argument(
        file,
        dest="checkpoint",
        type=Path,
        required=True,
        metavar="FILE",
        help="weights as .safetensors, .pth or .pt; also what prune has written",
    )
    group.add_argument(
        "--architecture",
        metavar="NAME",
        help="what builds it: a name, or package.module:function of your own; default: as the manifest of FILE says",
    )
    group.add_argument("--options", metavar="YAML", help="options of the builder, e.g. '{width: 64}'")
    group.add_argument("--device", choices=DEVICES, default="auto", help="default: CUDA if there is a GPU")


def add_data(parser: argparse.ArgumentParser, evaluated: bool = True) -> None:
    """Add the arguments that name images.

    Args:
        parser: of the command.
        evaluated: whether the command measures loss and accuracy.
    """
    group = parser.add_argument_group("images")
    group.add_argument(
        "--data",
        required=True,
        metavar="DATA",
        help="a folder with one folder of images a class (or train/ and val/ with such folders), or of images without"
        " classes; package.module:function that returns images and labels; or the name of a known set",
    )
    group.add_argument(
        "--size", type=int, nargs=2, metavar=("H", "W"), help="resize and crop the images of a folder to this size"
    )
    group.add_argument(
        "--channels",
        type=int,
        choices=(1, 3),
        help="colours of the images of a folder; default: as the network takes them",
    )
    for name, use in (("mean", "subtracted"), ("std", "divided by")):
        group.add_argument(
            f"--{name}",
            type=float,
            nargs="+",
            metavar="X",
            help=f"{use}, for each channel, on the scale 0 to 1; default: as the manifest says, or ImageNet's",
        )
    parser.set_defaults(evaluate_on=None)
    if evaluated:
        group.add_argument(
            "--evaluate-on",
            metavar="FOLDER",
            help="folders of classes with other images, to measure loss and accuracy on; default: a part of DATA, if it"
            " has classes",
        )
        group.add_argument(
            "--evaluate",
            type=_count_or_all,
            metavar="N",
            help=f"images that loss and accuracy are measured on, or 'all'; default: {EVALUATED}, or all of fewer",
        )
    group.add_argument("--seed", type=int, default=0, help="of the draws of images and criteria; default: 0")


def add_scoring(parser: argparse.ArgumentParser, criterion: str = COALITION_GRADIENT, needs: str = "") -> None:
    """Add the arguments that say how units are scored.

    Args:
        parser: of the command.
        criterion: which one is the default, in words.
        needs: what is said of options that do not go with all others.
    """
    parser.set_defaults(kind=None)
    group = parser.add_argument_group("scores")
    group.add_argument("--criterion", metavar="NAME", help=f"default: {criterion}; docs/criteria.md has them all")
    group.add_argument("--criterion-options", metavar="YAML", help="its options, e.g. '{points: 8}'")
    group.add_argument(
        "--aggregate",
        metavar="HOW",
        help="how the scores of all images become one: mean (default), abs, mean+2std, p97.7 ...",
    )
    group.add_argument(
        "--images",
        type=int,
        metavar="N",
        help=f"images that score units or calibrate; default: {SCORED}, or all of fewer",
    )
    group.add_argument("--payoff", metavar="NAME", help=f"loss (default), accuracy, margin, kl or agreement{needs}")
    group.add_argument(
        "--coupled",
        action="store_true",
        default=None,
        help=f"also prune layers whose units can only leave together, as in a residual stream{needs}",
    )


def add_kinds(parser: argparse.ArgumentParser, done: str) -> None:
    """Add the arguments that name residual branches or blocks instead of layers; ``kind`` is None without them.

    Args:
        parser: of the command.
        done: what it does with them.
    """
    group = parser.add_mutually_exclusive_group()
    for kind, what in (("branches", "residual branches"), ("blocks", "modules made of residual branches alone")):
        group.add_argument(
            f"--{kind}", dest="kind", action="store_const", const=kind, help=f"{done} {what} instead of layers"
        )


def read_criterion(arguments: argparse.Namespace, default: str, game: str = "LayerGame") -> tuple[str, dict[str, Any]]:
    """Read the criterion and its options; defaults are filled in.

    Args:
        arguments: of the command.
        default: which one it is if none is given.
        game: the kind of game that it scores.

    Raises:
        ShapPruneError: an unknown criterion or option, or a value that is not allowed.
    """
    name = (arguments.criterion or default).replace("_", "-")
    lookup_for(name, game)
    return name, check_options(name, read_mapping(arguments.criterion_options, "--criterion-options", "{points: 8}"))


def read_mapping(text: str | None, option: str, example: str) -> dict[str, Any]:
    """Read a mapping from YAML; no text is an empty mapping.

    Raises:
        ShapPruneError: not YAML, or not a mapping.
    """
    content = parse_yaml(text or "{}", f"{option} {text!r}")
    if not isinstance(content, dict):
        raise ShapPruneError(f"{option} {text!r} is not a mapping such as '{example}'")
    return content


def check_folder(folder: Path) -> None:
    """Raise unless a folder can be made and written to; nothing is made yet.

    Raises:
        ShapPruneError: it, or the nearest existing folder above it, is a file or write-protected.
    """
    existing = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise ShapPruneError(f"--out {folder} cannot be written: {existing} is not a folder that you may write to")


def _count_or_all(text: str) -> int | str:
    return text if text == "all" else int(text)
