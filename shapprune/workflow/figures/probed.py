"""Probes: what linear classifiers tell from the activations of some units."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from shapprune.workflow.figures.layout import draw_ranking, grid, ranked, require, styled
from shapprune.workflow.figures.styles import Styles, with_baselines

_ALL = "all"  # layers together, and the method that takes all units


@styled()
def probe_accuracies(probed: pd.DataFrame, styles: Styles) -> Figure:
    """Accuracy of the probes of each method, a panel a layer and one for all together; that of all units as a line.

    Args:
        probed: rows of ``probed.csv`` of one network.
        styles: of `criterion_styles`.
    """
    require(probed, "probes")
    whole, table = probed[probed["method"] == _ALL], probed[probed["method"] != _ALL]
    table = (table if len(table) else probed).assign(criterion=lambda rows: rows["method"])
    layers = [*(layer for layer in table["layer"].unique() if layer != _ALL), _ALL]
    styles, lines = with_baselines(styles), table.groupby(["criterion", "aggregate"]).ngroups
    figure, panels = grid(
        len(layers), columns=1 if len(layers) == 1 else 2, size=(4, 1.1 + 0.2 * lines), room=0, sharex=True
    )
    for axes, layer in zip(panels, layers, strict=True):
        here = table[table["layer"] == layer]
        draw_ranking(axes, ranked(here, styles, "accuracy"), "accuracy", bars=False)
        axes.set_title(f"{'all layers' if layer == _ALL else layer} ({int(here['units'].min())} units)", loc="left")
        axes.locator_params(axis="x", nbins=4)
        if len(whole):
            axes.axvline(whole[whole["layer"] == layer]["accuracy"].mean(), color="black", linewidth=0.8)
    figure.supxlabel("test accuracy of the probe" + " (line: all units)" * bool(len(whole)))
    return figure
