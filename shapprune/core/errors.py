"""The error that users see, and the sentences about unknown names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence


class ShapPruneError(Exception):
    """A mistake that the user can correct. Its text is one sentence; the command line shows it without a traceback."""


def unknown(kind: str, name: object, allowed: Iterable[str]) -> ShapPruneError:
    """The error for an unknown name; it lists the known ones and offers the nearest.

    Args:
        kind: what the name stands for, e.g. ``"criterion"``.
        name: the unknown name.
        allowed: the known names.

    Examples:
        >>> from shapprune.core.errors import unknown
        >>> print(unknown("criterion", "taylr", ["taylor", "random"]))
        unknown criterion 'taylr'; did you mean 'taylor'? allowed: random, taylor
    """
    return ShapPruneError(f"unknown {kind} {name!r}{suggestion(name, allowed)}")


def suggestion(name: object, allowed: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: the nearest known one, and all of them."""
    names = sorted(str(each) for each in allowed)
    near = difflib.get_close_matches(str(name).lower().replace("_", "-"), [each.lower() for each in names], 1, 0.6)
    hint = f"; did you mean {next(each for each in names if each.lower() == near[0])!r}?" if near else ";"
    return f"{hint} allowed: {', '.join(names)}"


def few(names: Sequence[str], most: int = 6) -> str:
    """The first of some names in words, and how many more there are.

    Examples:
        >>> from shapprune.core.errors import few
        >>> few(["cat", "dog", "owl"], most=2)
        'cat, dog and 1 more'
    """
    more = len(names) - most
    return ", ".join(names[:most]) + f" and {more} more" * (more > 0)


def because(reasons: Mapping[str, str], most: int = 3) -> str:
    """The first of some names, each with the reason that there is for it, and how many more there are.

    Examples:
        >>> from shapprune.core.errors import because
        >>> because({"conv1": "it is skipped", "fc": "it has one unit only"})
        'conv1: it is skipped; fc: it has one unit only'
    """
    named = [f"{name}: {reason}" for name, reason in reasons.items()]
    more = len(named) - most
    return "; ".join([*named[:most], *([f"and {more} more"] if more > 0 else [])])


def first_line(error: BaseException) -> str:
    """The first line of what an error says, or its kind where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
