"""Which options of ``prune`` go together: those that fit a budget, and those that remove units by scores alone."""

from __future__ import annotations

import argparse

from shapprune.commands.arguments import check_folder, read_mapping
from shapprune.commands.budgets import read_amount
from shapprune.core.errors import ShapPruneError, unknown
from shapprune.core.games import PARTS
from shapprune.pruning.repair import REPAIRS, REPAIRS_OF_BRANCHES
from shapprune.pruning.target import MEASURES, Target

# One of them says that units leave by their scores alone, layer by layer.
BY_SCORES = ("widths", "negative", "loss_growth", "scores", "sequential")
_ONLY_BY_SCORES = ("payoff", "coupled")
_ONLY_BUDGETS = ("budgets", "measure", "megabytes", "milliseconds", "allocation", "copies", "distil", "minutes", "flip")
_ONLY_UNITS = ("allocation", "copies", "distil", "minutes", "flip", "measure", "coupled", "scores", "sequential")
_HOW_FAR = (
    *("macs", "parameters", "megabytes", "milliseconds", "ratio", "budgets", "widths", "negative", "loss_growth"),
    *PARTS,
)


def check_arguments(arguments: argparse.Namespace) -> None:
    """Raise for what is wrong whatever the network is, before anything is loaded.

    Raises:
        ShapPruneError: options that do not go together, a value that is not allowed, or a folder that cannot be
            written.
    """
    check_folder(arguments.out)
    for name in ("batch", "threads"):
        if getattr(arguments, name) is not None and getattr(arguments, name) < 1:
            raise ShapPruneError(f"--{name} {getattr(arguments, name)} is not 1 or more")
    if arguments.repair not in REPAIRS:
        raise unknown("repair", arguments.repair, REPAIRS)
    far = [name for name in _HOW_FAR if _is_given(arguments, name)]
    if not far:
        raise ShapPruneError(f"nothing says how small: give one of {', '.join(map(_option, _HOW_FAR))}")
    if len(far) > 1:
        raise ShapPruneError(f"{_option(far[0])} and {_option(far[1])} are both given; give one of them")
    if far[0] in PARTS:
        _check_part_options(arguments)
    elif (by := by_scores(arguments)) is None:
        _check_budget_options(arguments)
    else:
        _check_score_options(arguments, by)
    if arguments.onnx:
        from shapprune.networks.export import require_onnx

        require_onnx()


def by_scores(arguments: argparse.Namespace) -> str | None:
    """The option by which units leave by their scores alone; None if a budget is fitted."""
    return next((_option(name) for name in BY_SCORES if _is_given(arguments, name)), None)


def parts_of(arguments: argparse.Namespace) -> tuple[str, int]:
    """What leaves whole, ``branches`` or ``blocks``, and how many; an empty kind and 0 if units leave."""
    return next(((kind, getattr(arguments, kind)) for kind in PARTS if _is_given(arguments, kind)), ("", 0))


def read_target(arguments: argparse.Namespace) -> Target:
    """Read how far a network is pruned by scores.

    Raises:
        ShapPruneError: a value that no network could have, or a share where a number is needed.
    """
    measures = {name: getattr(arguments, name) for name in MEASURES}
    if arguments.widths is not None:  # a layer called 0 is a number in YAML
        widths = read_mapping(arguments.widths, "--widths", "{conv1: 16}")
        measures["widths"] = {str(layer): width for layer, width in widths.items()}
    for name in ("ratio", "parameters", "macs"):
        if measures[name] is not None:
            measures[name] = read_amount(measures[name], f"--{name}")
    for name in ("parameters", "macs"):
        if measures[name] is not None:
            if measures[name] < 1:
                raise ShapPruneError(
                    f"--{name} {getattr(arguments, name)} must be a number of 1 or more with {by_scores(arguments)}"
                )
            measures[name] = int(measures[name])
    return Target(**measures, multiple=arguments.multiple)


def _check_budget_options(arguments: argparse.Namespace) -> None:
    """Raise for options that have no meaning where a budget is fitted."""
    for name in _ONLY_BY_SCORES:
        if _is_given(arguments, name):
            raise ShapPruneError(f"{_option(name)} goes only with one of {', '.join(map(_option, BY_SCORES))}")
    if arguments.measure is not None and arguments.budgets is None:
        raise ShapPruneError("--measure says what --budgets are shares of; give --budgets, or a single budget")
    if arguments.minutes is not None and arguments.distil not in (None, "auto"):
        raise ShapPruneError(f"--minutes decides the steps of --distil auto, not of --distil {arguments.distil}")
    if arguments.copies is not None and arguments.repair != "least-squares":
        raise ShapPruneError(f"--copies are for --repair least-squares, not for --repair {arguments.repair}")
    if arguments.aggregate is not None and arguments.criterion in (None, "reconstruction"):
        raise ShapPruneError("--aggregate goes with a --criterion that scores images one by one, not reconstruction")
    timed = arguments.milliseconds is not None or arguments.measure == "milliseconds"
    if timed and (arguments.batch != 1 or arguments.threads is not None):
        raise ShapPruneError(
            "--milliseconds are those of one image with torch's threads; leave out --batch and --threads"
        )


def _check_part_options(arguments: argparse.Namespace) -> None:
    """Raise for options that have no meaning where branches or blocks leave."""
    kind, count = parts_of(arguments)
    if count < 1:
        raise ShapPruneError(f"--{kind} {count} is not 1 or more")
    given = [name for name in _ONLY_UNITS if _is_given(arguments, name)]
    given += ["multiple"] * (arguments.multiple != 1) + ["skip"] * bool(arguments.skip)
    if given:
        raise ShapPruneError(f"{_option(given[0])} is about units of layers, so it does not go with --{kind}")
    if arguments.repair not in REPAIRS_OF_BRANCHES:
        allowed = " or ".join(REPAIRS_OF_BRANCHES)
        raise ShapPruneError(f"--repair {arguments.repair} does not go with --{kind}, which takes {allowed}")


def _check_score_options(arguments: argparse.Namespace, by: str) -> None:
    """Raise for options that have no meaning where units leave by their scores alone."""
    for name in _ONLY_BUDGETS:
        if _is_given(arguments, name):
            raise ShapPruneError(f"{_option(name)} goes with a budget alone, not with {by}")
    if arguments.scores is not None:
        for name in ("criterion", "criterion_options", "payoff", "sequential"):
            if getattr(arguments, name):
                raise ShapPruneError(f"{_option(name)} cannot be given with --scores, which were made before")


def _is_given(arguments: argparse.Namespace, name: str) -> bool:
    return getattr(arguments, name) is not None


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
