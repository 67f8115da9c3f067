"""Networks with weights of few bits."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from shapprune.workflow.figures.layout import draw_ranking, grid, require, styled
from shapprune.workflow.figures.styles import OKABE_ITO, SOLID, Style, quantised_label

# Column -> what its axis says.
_PANELS = {"loss": "test loss", "accuracy": "test accuracy", "test_agreement": "agrees with the intact network"}


@styled()
def quantised_methods(quantised: pd.DataFrame) -> Figure:
    """Loss, accuracy and agreement of each method, and of each of its betas; a row of panels a number of bits.

    The line is the intact network. Methods are in the same order everywhere, so that rows of panels can be compared.

    Args:
        quantised: rows of ``quantised.csv`` of one network.
    """
    require(quantised, "quantised networks")
    labels = [quantised_label(*each) for each in zip(quantised["method"], quantised["beta"], strict=True)]
    table = quantised.assign(label=labels, intact_test_agreement=1.0)
    bits, count = sorted(table["bits"].unique()), table["label"].nunique()
    figure, panels = grid(3 * len(bits), columns=3, size=(2.9, 0.9 + 0.2 * count), room=0.5, sharey="row")
    colours = {name: OKABE_ITO[place % len(OKABE_ITO)] for place, name in enumerate(table["method"].unique())}
    for row, number in enumerate(bits):
        here = table[table["bits"] == number]
        order = [
            (Style(label, 0, rows["beta"].notna().any(), colours[rows["method"].iloc[0]], SOLID), rows)
            for label, rows in here.groupby("label", sort=False)
        ]
        for axes, (measure, words) in zip(panels[3 * row : 3 * row + 3], _PANELS.items(), strict=True):
            draw_ranking(axes, order, measure, bars=False)
            axes.locator_params(axis="x", nbins=4)
            axes.ticklabel_format(axis="x", useOffset=False)
            axes.axvline(here[f"intact_{measure}"].mean(), color="black", linewidth=0.8)
            axes.set_title(f"{number} bits", loc="left")
            axes.set_xlabel(words)
    return figure
