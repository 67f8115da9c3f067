"""Budgets as the command line has them: shares such as ``50%``, numbers such as ``20M``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from shapprune.core.errors import ShapPruneError
from shapprune.pruning.budget import NAMES, Budget

_UNITS = {"k": 1e3, "m": 1e6, "g": 1e9}


def read_amount(text: str, option: str) -> float:
    """Read a share or an absolute number.

    Args:
        text: ``50%``, ``0.5``, ``20000000``, ``20M``, ``600k``.
        option: that it was given to.

    Returns:
        The number; below 1 it is a share.

    Raises:
        ShapPruneError: not a number, or a share of 100 % and above.

    Examples:
        >>> from shapprune.commands.budgets import read_amount
        >>> read_amount("50%", "--macs"), read_amount("0.5", "--macs"), read_amount("20M", "--macs")
        (0.5, 0.5, 20000000.0)
    """
    share, unit = text.endswith("%"), _UNITS.get(text[-1:].lower(), 1.0)
    try:
        number = float(text[:-1] if share or unit > 1 else text)
    except ValueError as error:
        raise ShapPruneError(
            f"{option} {text} is not a number; give a share such as 50% or 0.5, or a number such as 20000000 or 20M"
        ) from error
    if share and not 0 < number < 100:
        raise ShapPruneError(f"{option} {text} is not a share between 0% and 100%")
    if not share and number == 0:
        raise ShapPruneError(f"{option} {text} leaves nothing; give a share such as 50%, or a number such as 20M")
    return number / 100 if share else number * unit


def read_budgets(arguments: argparse.Namespace) -> list[Budget]:
    """Read the budget, or those of ``--budgets``.

    Raises:
        ShapPruneError: a budget that no network could have, or two that are the same.
    """
    if arguments.budgets is None:
        name = next(each for each in NAMES if getattr(arguments, each) is not None)
        return [Budget.of(name, read_amount(getattr(arguments, name), f"--{name}"))]
    measure = arguments.measure or "macs"
    budgets = [Budget.of(measure, read_amount(text, "--budgets")) for text in arguments.budgets]
    if twice := _repeated([folder_name(each) for each in budgets]):
        raise ShapPruneError(f"--budgets {' '.join(arguments.budgets)} has {twice} twice")
    return budgets


def folder_name(budget: Budget) -> str:
    """The name of the folder of one of several budgets; it needs no quoting.

    Examples:
        >>> from shapprune.commands.budgets import folder_name
        >>> from shapprune.pruning.budget import Budget
        >>> folder_name(Budget(macs=0.75)), folder_name(Budget(parameters=600_000))
        ('macs-75-percent', 'parameters-600000')
    """
    if budget.amount < 1:
        return f"{budget.measure}-{100 * budget.amount:.6g}-percent"
    return f"{budget.measure}-{budget.amount:.12g}"


def _repeated(names: Sequence[str]) -> str | None:
    return next((name for place, name in enumerate(names) if name in names[:place]), None)
