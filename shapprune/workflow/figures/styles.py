"""How each criterion looks, the same in all figures of a study."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from shapprune.criteria.catalog import lookup

Dashes: TypeAlias = tuple[float, tuple[float, ...]]  # offset, then on and off in turn

SOLID: Dashes = (0, ())
DOTTED: Dashes = (0, (1, 1))

# The colour-blind can tell them apart (Okabe and Ito 2008).
OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")

# Colours, markers and line styles: strong ones of Shapley values, muted ones of heuristics. There is one marker more
# than colours, so that a colour that is given again has another marker.
_STRONG: tuple[tuple[str, ...], tuple[str, ...], tuple[Dashes, ...]] = (
    OKABE_ITO,
    ("o", "s", "^", "D", "v", "P", "X"),
    (SOLID, (0, (9, 1.2)), (0, (9, 1.2, 1, 1.2))),
)
_MUTED: tuple[tuple[str, ...], tuple[str, ...], tuple[Dashes, ...]] = (
    ("#8C6D31", "#7B6A9E", "#5F8A8B", "#B0716F", "#86863F", "#6B7A90"),
    ("x", "+", "1", "2", "3", "4", "|"),
    ((0, (5, 2)), (0, (5, 1.5, 1, 1.5)), (0, (2.2, 1.4)), (0, (5, 1.5, 1, 1.5, 1, 1.5))),
)
_GREY, _DOTS = "#8A8A8A", (0, (1, 1.6))
# What tables hold beside the criteria of a study.
_TRUTHS: tuple[tuple[str, Dashes, str], ...] = (
    ("oracle sets", SOLID, ""),
    ("oracle rank", (0, (6, 2)), ""),
    ("greedy removal", (0, (2, 1)), ""),
    ("exact Shapley", SOLID, "*"),
    ("converged Shapley", SOLID, "P"),
)
# Methods beside criteria that units are chosen by, or that choose none.
_BASELINES: tuple[tuple[str, Dashes, str], ...] = (
    ("full", SOLID, "v"),
    ("lora", (0, (4, 1)), "^"),
    ("all", SOLID, "s"),
)


@dataclass(frozen=True)
class Style:
    """How the lines and bars of one criterion and aggregate look.

    Attributes:
        label: its name for people.
        place: its place in the study, so that markers of different lines do not lie on each other.
        shapley: whether it is a Shapley value, or made of them.
        colour: of line, marker and bar.
        dashes: line style.
        marker: marker style, empty for none.
        filled: whether markers are filled.
    """

    label: str
    place: int
    shapley: bool
    colour: str
    dashes: Dashes
    marker: str = ""
    filled: bool = True

    @property
    def line(self) -> dict[str, Any]:
        """What ``Axes.plot`` takes."""
        return {
            "color": self.colour,
            "linestyle": self.dashes,
            "marker": self.marker,
            "markerfacecolor": self.colour if self.filled else "white",
            "linewidth": 1.5 if self.shapley else 1.0,
            "zorder": 3 if self.shapley else 2.5,
        }


Styles: TypeAlias = Mapping[tuple[str, str], Style]


def reference(label: str, dashes: Dashes = SOLID) -> Style:
    """The look of a line that criteria are compared with."""
    return Style(label, 0, False, "black", dashes)


def criterion_styles(criteria: Mapping[str, Mapping[str, Any]]) -> dict[tuple[str, str], Style]:
    """The look of every criterion and aggregate of a study, in the study's order.

    Shapley values have strong colours and nearly unbroken lines, a colour for each criterion; heuristics have muted
    colours and dashed lines, a colour for each method; random is dotted grey. What shares a colour differs by its line
    and, of Shapley values, by filled and open markers.

    Args:
        criteria: name -> settings, ``criteria`` or ``estimators.compared`` of a configuration that
            `shapprune.workflow.study.config.validate` returned, or the criteria of its ``budgets.methods``; without
            ``aggregates`` the only one is the mean.

    Returns:
        A style for each (criterion, aggregate), and one for each of what tables hold beside the study's own criteria.
    """
    styles: dict[tuple[str, str], Style] = {}
    members: dict[bool, dict[str, int]] = {True: {}, False: {}}  # strong and muted colours: how often each was given
    for name, settings in criteria.items():
        method, aggregates = settings["method"], settings.get("aggregates", ["mean"])
        scorer = settings.get("of", method)  # a criterion made of another looks like that one
        shapley = lookup(scorer).shapley
        colour = name if shapley else method
        for aggregate in aggregates:
            look: dict[str, Any] = {"colour": _GREY, "dashes": _DOTS}
            if method != "random":
                member = members[shapley].setdefault(colour, 0)
                members[shapley][colour] += 1
                look = _look(shapley, list(members[shapley]).index(colour), member)
            label = f"{name} ({aggregate})" if len(aggregates) > 1 else name
            styles[name, aggregate] = Style(label, len(styles), shapley, **look)
    for name, dashes, marker in _TRUTHS:
        styles.setdefault((name, "mean"), Style(name, len(styles), True, "black", dashes, marker))
    return styles


def with_baselines(styles: Styles) -> Styles:
    """The same styles with those of the methods beside criteria, of which there are some in all that is compared."""
    found = dict(styles)
    for name, dashes, marker in _BASELINES:
        found.setdefault((name, "mean"), Style(name, len(found), True, "black", dashes, marker))
    found.setdefault(("random", "mean"), Style("random", len(found), False, _GREY, _DOTS))
    return found


def quantised_label(method: str, beta: float) -> str:
    """What a method of quantisation is called with one of its betas; NaN where it has none."""
    return method if math.isnan(beta) else f"{method}, beta {beta:g}"


def _look(shapley: bool, hue: int, member: int) -> dict[str, Any]:
    """Colour, line and marker of the given member of those that share a hue."""
    colours, markers, lines = _STRONG if shapley else _MUTED
    return {
        "colour": colours[hue % len(colours)],
        "dashes": lines[(member + hue // len(colours)) % len(lines)],
        "marker": markers[hue % len(markers)],
        "filled": member % 2 == 0,
    }
