"""Networks of which only the units of the highest scores were trained on."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from shapprune.workflow.figures.layout import draw_ranking, grid, ranked, require, short, styled
from shapprune.workflow.figures.styles import Styles, with_baselines


@styled()
def tuned_methods(tuned: pd.DataFrame, styles: Styles) -> Figure:
    """Loss and accuracy of each method after the training, sorted by the loss; the network before it as a line.

    Args:
        tuned: rows of ``tuned.csv`` of one network.
        styles: of `criterion_styles`.
    """
    require(tuned, "networks of which some units were trained on")
    table = tuned.assign(criterion=tuned["method"])
    order = ranked(table, with_baselines(styles), "loss")
    figure, panels = grid(2, size=(4, 1.1 + 0.2 * len(order)), room=0, sharey=True)
    for axes, measure in zip(panels, ("loss", "accuracy"), strict=True):
        draw_ranking(axes, order, measure, bars=False)
        axes.locator_params(axis="x", nbins=4)
        axes.axvline(table[f"{measure}_before"].mean(), color="black", linewidth=0.8)
        axes.set_xlabel(f"test {measure}")
    selected = table[~table["method"].isin(["full", "lora"])]
    trainable = ", ".join(dict.fromkeys(map(short, (selected if len(selected) else table)["trainable"])))
    whole = short(table["parameters"].iloc[0])
    figure.supxlabel(f"selected: {trainable} of {whole} parameters train (line: before the training)")
    return figure
