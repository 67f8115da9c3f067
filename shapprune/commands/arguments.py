"""Arguments that several commands take. Nothing heavy is imported here."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from shapprune.core.errors import ShapPruneError
from shapprune.criteria.catalog import check_options, lookup
from shapprune.gpu.device import DEVICES

Subparsers = Any  # argparse names no type for it
EVALUATED = 1000  # images that accuracy and loss are measured on, where the data have so many


def new_command(
    commands: Subparsers, name: str, run: Callable[[argparse.Namespace], None], about: str, more: str, example: str
) -> argparse.ArgumentParser:
    """Add a command.

    Args:
        commands: what they are added to.
        name: the command.
        run: what runs it.
        about: a line for the list of commands.
        more: sentences for its own help.
        example: a call of it, without ``python -m shapprune``.
    """
    parser = commands.add_parser(
        name,
        help=about,
        description=more,
        epilog=f"example:\n  python -m shapprune {name} {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def add_network(parser: argparse.ArgumentParser, file: str = "--checkpoint") -> None:
    """Which network: a file of weights and what builds it."""
    group = parser.add_argument_group("network")
    group.add_argument(
        file,
        dest="checkpoint",
        type=Path,
        required=True,
        metavar="FILE",
        help="weights as .safetensors, .pth or .pt, also what prune wrote",
    )
    group.add_argument(
        "--architecture",
        metavar="NAME",
        help="what builds it: a name, or package.module:function of your own; by default as FILE's manifest says",
    )
    group.add_argument("--options", metavar="YAML", help="options of the builder, e.g. '{width: 64}'")
    group.add_argument("--device", choices=DEVICES, default="auto", help="default: CUDA where it is there")


def add_data(parser: argparse.ArgumentParser, evaluated: bool = True) -> None:
    """Which images.

    Args:
        parser: what the arguments are added to.
        evaluated: whether the command measures loss and accuracy.
    """
    group = parser.add_argument_group("images")
    group.add_argument(
        "--data",
        required=True,
        metavar="DATA",
        help="a folder with a folder of images for each class (or train/ and val/ with such folders),"
        " package.module:function that returns images and labels, or the name of a known set",
    )
    group.add_argument(
        "--size", type=int, nargs=2, metavar=("H", "W"), help="resize and crop the images of a folder to this size"
    )
    group.add_argument(
        "--channels", type=int, choices=(1, 3), help="of the images of a folder; by default as the network takes them"
    )
    for what, about in (("mean", "subtracted"), ("std", "divided by")):
        group.add_argument(
            f"--{what}",
            type=float,
            nargs="+",
            metavar="X",
            help=f"of each channel on the scale 0 to 1, {about}; by default as the manifest says, or ImageNet's",
        )
    if evaluated:
        group.add_argument(
            "--evaluate",
            type=_count_or_all,
            metavar="N",
            help=f"images that loss and accuracy are measured on, or 'all'; default: {EVALUATED}, or all of fewer",
        )
    group.add_argument("--seed", type=int, default=0, help="of the draw of images and of criteria; default: 0")


def add_scoring(parser: argparse.ArgumentParser) -> None:
    """By what units are scored."""
    group = parser.add_argument_group("scores")
    group.add_argument("--criterion", metavar="NAME", help="default: coalition-gradient; docs/criteria.md has them all")
    group.add_argument("--criterion-options", metavar="YAML", help="its options, e.g. '{points: 8}'")
    group.add_argument("--payoff", metavar="NAME", help="loss (default), accuracy or margin")
    group.add_argument(
        "--aggregate",
        default="mean",
        metavar="HOW",
        help="how scores of images become one: mean (default), abs, mean+2std, p97.7 ...",
    )
    group.add_argument("--images", type=int, metavar="N", help="images that units are scored on; default: 100")
    group.add_argument(
        "--coupled",
        action="store_true",
        help="take also layers whose units can only leave together, as in a residual stream",
    )


def criterion_of(given: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """The criterion and its options, those of its defaults filled in.

    Raises:
        ShapPruneError: an unknown criterion or option, or a value that is not allowed.
    """
    name = given.criterion or "coalition-gradient"
    lookup(name)
    return name, check_options(name, mapping(given.criterion_options, "--criterion-options", "{points: 8}"))


def mapping(text: str | None, option: str, example: str) -> dict[str, Any]:
    """A mapping given as YAML; empty where nothing was given.

    Raises:
        ShapPruneError: not YAML, or not a mapping.
    """
    try:
        found = yaml.safe_load(text or "{}")
    except yaml.YAMLError as error:
        problem = str(getattr(error, "problem", None) or error).splitlines()[0]
        raise ShapPruneError(f"{option} {text!r} is not YAML: {problem}") from error
    if not isinstance(found, dict):
        raise ShapPruneError(f"{option} {text!r} is not a mapping such as '{example}'")
    return found


def check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be made or written to; nothing is made yet.

    Raises:
        ShapPruneError: it, or the nearest folder above it that there is, is a file or write-protected.
    """
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise ShapPruneError(f"--out {folder} cannot be written: {there} is no folder that is open to you")


def _count_or_all(text: str) -> int | str:
    return text if text == "all" else int(text)
