"""The figure of tables of `benchmarks.speed`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from benchmarks.quality import RUN
from shapprune.workflow.figures.layout import PLAIN, require, styled
from shapprune.workflow.figures.styles import OKABE_ITO

_BAR = 0.2  # inches
_LINE = 36  # bars beside each other


@styled()
def speed_by_layer(table: pd.DataFrame) -> Figure:
    """How much faster the engine is than the baseline, a bar a layer and one for all, a panel a network.

    Args:
        table: rows of ``speed.csv``.
    """
    require(table, "speed")
    lines = list(_lines(list(runs_of(table))))
    figure = Figure(figsize=(_BAR * _LINE + 1.2, 2.9 * len(lines)))
    first = None
    for part, runs in zip(figure.subfigures(len(lines), 1, squeeze=False)[:, 0], lines, strict=True):
        widths = [len(rows) for _, rows in runs]
        spare = max(1, _LINE - sum(widths))  # so that bars are of one width everywhere
        panels = part.subplots(1, len(runs) + 1, width_ratios=[*widths, spare])
        panels[-1].set_axis_off()
        panels[0].set_ylabel("times faster")
        for axes, (title, rows) in zip(panels, runs, strict=False):
            first = first or axes
            axes.sharey(first)
            _draw_bars(axes, rows)
            axes.set_title(title, loc="left")
    figure.suptitle("The engine and TorchPruner's walk at the same orders", x=0.01, ha="left")
    return figure


def _draw_bars(axes: Axes, rows: pd.DataFrame) -> None:
    places = np.arange(len(rows))
    colours = np.where(rows["layer"] == "all", OKABE_ITO[0], OKABE_ITO[5])
    axes.bar(places, rows["ratio"] - 1, 0.72, bottom=1, color=colours)
    for place, ratio in zip(places, rows["ratio"], strict=True):
        text = f"{ratio:.1f}" if ratio < 10 else f"{ratio:.0f}"
        axes.annotate(text, (place, max(ratio, 1)), (0, 2), textcoords="offset points", ha="center", fontsize=6)
    axes.axhline(1, color="black", linewidth=0.7)
    axes.set_xticks(places, rows["layer"], rotation=90)
    axes.set_xlim(-0.7, len(rows) - 0.3)
    axes.tick_params(axis="x", length=0)
    axes.grid(visible=False, axis="x")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(PLAIN)


def _lines(runs: list[tuple[str, pd.DataFrame]]) -> Iterator[list[tuple[str, pd.DataFrame]]]:
    """Runs that fit beside each other, in their order."""
    line: list[tuple[str, pd.DataFrame]] = []
    for run in runs:
        if line and sum(len(rows) for _, rows in [*line, run]) > _LINE:
            yield line
            line = []
        line.append(run)
    yield line


def runs_of(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The rows of each run under the name of its network, and what it differs in where the network comes again."""
    columns = [column for column in (*RUN, "permutations") if column in table]
    runs = [rows for _, rows in table.groupby(columns, sort=False, dropna=False)]
    for rows in runs:
        about = rows.iloc[0]
        same = pd.concat([each for each in runs if each["net"].iloc[0] == about["net"]])
        differs = [name for name in ("weights", "images", "permutations") if name in rows and same[name].nunique() > 1]
        words = [about[name] if name == "weights" else f"{name}: {about[name]}" for name in differs]
        yield ", ".join([about["net"], *words]), rows
