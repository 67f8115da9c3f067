"""Figures of the benchmark: mean ranks with what cannot be told apart, and accuracy against cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.low_data.results import Results
from benchmarks.low_data.statistics import cliques, critical_difference, mean_ranks
from shapprune.core.errors import ShapPruneError
from shapprune.workflow.figures.budgets import budget_tradeoff
from shapprune.workflow.figures.layout import save, styled
from shapprune.workflow.figures.styles import OKABE_ITO, SOLID, Style

# Inches: between two names, for the axis above them, of the axis, of a letter, and of the value beside a name.
_LINE, _TOP, _AXIS, _LETTER, _VALUE = 0.2, 0.75, 3.2, 0.068, 0.7
_INK = "#333333"
_DRAWN = ("method", "budget", "macs", "share", "accuracy", "accuracy_intact")
_MARKERS, _DASHES = "os^DvP", (SOLID, (0, (4, 1.2)))
RANKS = "critical_difference"  # the file of that figure


def rankable(results: Results, images: int) -> bool:
    """Whether there are enough methods and blocks to draw their ranks."""
    return min(results.accuracies(images)[2].shape) > 1


def drawable(results: Results, net: str, images: int) -> bool:
    """Whether a method has an accuracy on a network."""
    return bool(_measured(results, net, images))


def tradeoff_name(net: str, images: int) -> str:
    """The name of the figure of a network."""
    return f"{net}_{images}"


def write_figures(results: Results, images: int, folder: Path) -> None:
    """Write all figures that can be drawn, as SVG and PNG."""
    if rankable(results, images):
        methods, _, accuracies = results.accuracies(images)
        save(draw_critical_difference(methods, accuracies), folder / RANKS)
    for net, count in results.places():
        if drawable(results, net, count):
            save(draw_tradeoff(results, net, count), folder / tradeoff_name(net, count))


@styled()
def draw_critical_difference(methods: Sequence[str], accuracies: np.ndarray) -> Figure:
    """Mean ranks on a line, the best at the right; a bar joins methods that are not told apart.

    Source: Demšar 2006, section 3.2.4, with Nemenyi's test at 5 %.

    Args:
        methods: their names.
        accuracies: [blocks, methods].

    Raises:
        ShapPruneError: fewer than two methods or blocks.
    """
    blocks, count = accuracies.shape
    if blocks < 2 or count < 2:
        raise ShapPruneError(
            f"ranks of {count} methods in {blocks} blocks cannot be drawn; 2 or more of each are needed"
        )
    ranks = mean_ranks(accuracies)
    order = np.argsort(ranks, kind="stable")
    ranks, names = ranks[order], [methods[place] for place in order]
    difference = critical_difference(count, blocks)
    bars = cliques(ranks, difference)
    half = (count + 1) // 2
    figure, axes = _open(names[half:], names[:half], _TOP + _LINE * (half + 0.6 * len(bars) + 0.4))
    axes.set_xlim(count, 1)
    _draw_axis(axes, count, difference)
    first = -_TOP - 0.6 * _LINE * len(bars)
    for level, (start, end) in enumerate(bars):
        place = -_TOP + 0.02 - 0.6 * _LINE * (level + 0.2)
        edges = [ranks[start] - 0.03, ranks[end] + 0.03]
        axes.plot(edges, [place, place], color=_INK, linewidth=3, solid_capstyle="butt")
    for place, (rank, name) in enumerate(zip(ranks, names, strict=True)):
        right = place < half
        y = first - _LINE * (place + 0.6 if right else count - 1 - place + 0.6)
        _draw_name(axes, name, rank, y, 1 if right else count, count)
    return figure


def _open(left: Sequence[str], right: Sequence[str], height: float) -> tuple[Figure, Axes]:
    """A figure, and axes in it of so many inches, downwards from 0; there is room for the names at both sides."""
    sides = [_LETTER * max(map(len, some), default=0) + _VALUE for some in (left, right)]
    width = sum(sides) + _AXIS
    figure = Figure(figsize=(width, height))
    figure.set_layout_engine("none")
    axes = figure.add_axes((sides[0] / width, 0, _AXIS / width, 1))
    axes.set_ylim(-height, 0)
    axes.set_axis_off()
    return figure, axes


def _draw_name(axes: Axes, name: str, rank: float, y: float, end: int, count: int) -> None:
    """A line from a rank down to a height, out to the side where the axis ends, and the name there."""
    edge = end - 0.02 * (count - 1) * (1 if end == 1 else -1)
    axes.plot([rank, rank, edge], [-_TOP + 0.12, y, y], color=_INK, linewidth=0.8, clip_on=False)
    side = "left" if end == 1 else "right"
    axes.text(edge, y, f" {name}  {rank:.2f} ", ha=side, va="center", clip_on=False)


def _draw_axis(axes: Axes, count: int, difference: float) -> None:
    """The line of ranks with its ticks, and the critical difference above it."""
    line = -_TOP + 0.12
    axes.plot([1, count], [line, line], color=_INK, linewidth=1, clip_on=False)
    for rank in range(1, count + 1):
        axes.plot([rank, rank], [line, line + 0.06], color=_INK, linewidth=1, clip_on=False)
        axes.text(rank, line + 0.09, str(rank), ha="center", va="bottom", clip_on=False)
    top = -0.25
    left = count
    axes.plot([left, left - difference], [top, top], color=_INK, linewidth=1, clip_on=False, marker="|")
    axes.text(
        left - difference / 2,
        top + 0.03,
        f"critical difference {difference:.2f}",
        ha="center",
        va="bottom",
        clip_on=False,
    )


def draw_tradeoff(results: Results, net: str, images: int) -> Figure:
    """Accuracy against the share of multiply-accumulates that is left; see `budget_tradeoff`.

    Raises:
        ShapPruneError: no row of the network has an accuracy.
    """
    table = pd.DataFrame(_measured(results, net, images), columns=_DRAWN)
    table = table.assign(intact_macs=table["macs"] / table["share"], intact_accuracy=table["accuracy_intact"])
    return budget_tradeoff(table, {(name, "mean"): _look(name, place) for place, name in enumerate(results.methods)})


def _measured(results: Results, net: str, images: int) -> list[dict[str, Any]]:
    """The rows of a network that have an accuracy."""
    return [
        {name: row[name] if name == "method" else float(row[name]) for name in _DRAWN}
        for block, methods in results.rows.items()
        if block[:2] == (net, images)
        for draws in methods.values()
        for row in draws.values()
        if not row["failed"]
    ]


def _look(name: str, place: int) -> Style:
    """A colour, marker and line that no other of 36 methods has together."""
    again, hue = divmod(place, len(OKABE_ITO))
    return Style(
        name, place, True, OKABE_ITO[hue], _DASHES[again % 2], _MARKERS[(hue + again) % 6], filled=again % 2 == 0
    )
