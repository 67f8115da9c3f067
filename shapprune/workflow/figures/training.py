"""How the networks were trained."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from shapprune.workflow.figures.layout import grid, require, styled
from shapprune.workflow.figures.styles import OKABE_ITO, SOLID, Dashes

_DASHES: dict[str, Dashes] = {"train": (0, (3, 1.5)), "validation": SOLID}


@styled()
def training_curves(training: pd.DataFrame) -> Figure:
    """Loss and accuracy of the training and the validation images after each epoch, one colour a seed.

    Args:
        training: rows of ``training.csv`` of one network.
    """
    require(training, "training")
    seeds = training["seed"].unique()
    colours = {seed: OKABE_ITO[place % len(OKABE_ITO)] for place, seed in enumerate(seeds)}
    figure, panels = grid(2, room=1.4)
    for axes, measure in zip(panels, ("loss", "accuracy"), strict=True):
        for seed, rows in training.groupby("seed", sort=False):
            for part, dashes in _DASHES.items():
                axes.plot(rows["epoch"], rows[f"{part}_{measure}"], color=colours[seed], linestyle=dashes)
            # The network that is kept: the highest validation accuracy and, of those, the lowest validation loss.
            kept = rows.sort_values(["validation_accuracy", "validation_loss"], ascending=[False, True]).iloc[0]
            axes.plot(kept["epoch"], kept[f"validation_{measure}"], "o", color=colours[seed], markersize=6)
        axes.set_ylabel(measure)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    parts = [Line2D([], [], color="black", linestyle=dashes, label=part) for part, dashes in _DASHES.items()]
    kept = Line2D([], [], color="black", linestyle="none", marker="o", markersize=6, label="epoch that is kept")
    runs = [Line2D([], [], color=colour, label=f"seed {seed}") for seed, colour in colours.items()]
    figure.legend(handles=[*parts, kept, *runs], loc="outside right upper")
    return figure
