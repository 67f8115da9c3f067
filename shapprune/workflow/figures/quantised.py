"""Networks with weights of few bits."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from shapprune.workflow.figures.layout import draw_ranking, grid, require, styled
from shapprune.workflow.figures.styles import OKABE_ITO, SOLID, Style, quantised_label

_PANELS = {"loss": "intact_loss", "accuracy": "intact_accuracy"}


@styled()
def quantised_methods(quantised: pd.DataFrame) -> Figure:
    """Loss and accuracy of each method, and of each beta of one that has it; a row of panels a number of bits.

    Methods are in the same order everywhere, so that rows of panels can be compared.

    Args:
        quantised: rows of ``quantised.csv`` of one network.
    """
    require(quantised, "quantised networks")
    labels = [quantised_label(*each) for each in zip(quantised["method"], quantised["beta"], strict=True)]
    table = quantised.assign(label=labels)
    bits, count = sorted(table["bits"].unique()), table["label"].nunique()
    figure, panels = grid(2 * len(bits), columns=2, size=(3.6, 0.8 + 0.2 * count), room=0, sharey="row")
    colours = {name: OKABE_ITO[place % len(OKABE_ITO)] for place, name in enumerate(table["method"].unique())}
    for row, number in enumerate(bits):
        here = table[table["bits"] == number]
        order = [
            (Style(label, 0, rows["beta"].notna().any(), colours[rows["method"].iloc[0]], SOLID), rows)
            for label, rows in here.groupby("label", sort=False)
        ]
        for axes, (measure, intact) in zip(panels[2 * row : 2 * row + 2], _PANELS.items(), strict=True):
            draw_ranking(axes, order, measure, bars=False)
            axes.locator_params(axis="x", nbins=4)
            axes.axvline(here[intact].mean(), color="black", linewidth=0.8)
            axes.set_title(f"{number} bits", loc="left")
            axes.set_xlabel(f"test {measure}")
    return figure
