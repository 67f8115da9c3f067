"""The one error a person is meant to read."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ShapPruneError(Exception):
    """A mistake that the person at the keyboard can mend: its text is one sentence, shown without a traceback."""


def unknown(kind: str, name: object, allowed: Iterable[str]) -> ShapPruneError:
    """The error for a name that does not exist: it says which names do and which of them is nearest.

    Args:
        kind: what the name stands for, e.g. ``"criterion"``.
        name: the name that was given.
        allowed: the names that exist.
    """
    return ShapPruneError(f"unknown {kind} {name!r}{suggestion(name, allowed)}")


def suggestion(name: object, allowed: Iterable[str]) -> str:
    """The tail of a sentence about an unknown name: the nearest allowed one, and all of them."""
    names = sorted(str(each) for each in allowed)
    near = difflib.get_close_matches(str(name).lower().replace("_", "-"), [each.lower() for each in names], 1, 0.6)
    hint = f"; did you mean {next(each for each in names if each.lower() == near[0])!r}?" if near else ";"
    return f"{hint} allowed: {', '.join(names)}"
