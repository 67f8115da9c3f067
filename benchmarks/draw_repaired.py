"""The figure of tables of `benchmarks.repaired_game`."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from shapprune.workflow.figures.layout import require, styled
from shapprune.workflow.figures.styles import OKABE_ITO

_ROW = 0.28  # inches


@styled()
def gaps_by_order(table: pd.DataFrame) -> Figure:
    """What orders lose beyond the oracle sets: a dot a layer and draw, a bar for their mean, a row an order.

    Args:
        table: rows of ``repaired_game.csv``.
    """
    require(table, "repaired game")
    table = table.assign(percent=100 * table["gap"])
    means = table.groupby("order")["percent"].mean().sort_values(ascending=False)
    means = means[means.index != "oracle sets"]
    figure = Figure(figsize=(6.4, 1.1 + _ROW * len(means)))
    axes = figure.subplots()
    shift = np.random.default_rng(0)
    for place, order in enumerate(means.index):
        gaps = table.loc[table["order"] == order, "percent"]
        axes.plot(gaps, place + shift.uniform(-0.2, 0.2, len(gaps)), ".", color=OKABE_ITO[5], alpha=0.6, markersize=4)
    axes.plot(means, range(len(means)), "|", color="black", markersize=11, markeredgewidth=1.5)
    axes.set_yticks(range(len(means)), means.index)
    axes.set_xlim(left=-0.2)
    axes.set_xlabel("lost beyond the oracle sets, % of the readers' variance, mean over all sizes")
    axes.grid(visible=False, axis="y")
    nets = ", ".join(f"{net} ({rows['layer'].nunique()} layers)" for net, rows in table.groupby("net"))
    figure.suptitle(f"Orders of the repaired game: {nets}", x=0.01, ha="left")
    return figure
