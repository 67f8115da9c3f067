"""Removal curves and the areas under them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from shapprune.workflow.figures.layout import (
    by_style,
    draw_lines,
    draw_ranking,
    grid,
    legend,
    ranked,
    require,
    scale_loss,
    styled,
)
from shapprune.workflow.figures.styles import Styles

_POINTS = 50  # of a curve; more than that are not told apart on paper
_NUMBERED = 20  # layers, beyond which there is no room for numbers
_LEVEL = 6  # layers, beyond which there is no room for their names side by side
_DARK = 0.25  # shade below which text is white


@styled()
def removal_curves(curves: pd.DataFrame, styles: Styles, measure: str = "loss") -> Figure:
    """Loss or accuracy against the share of removed units, one panel a layer.

    Args:
        curves: rows of ``curves.csv`` of one network.
        styles: of `criterion_styles`.
        measure: ``loss`` or ``accuracy``.
    """
    require(curves, "removal curves")
    layers = curves["layer"].unique()
    figure, panels = grid(len(layers), sharex=True, sharey=True)
    for axes, layer in zip(panels, layers, strict=True):
        here = curves[curves["layer"] == layer]
        units = int(here["units"].iloc[0])
        measured = np.sort(here["removed"].unique())
        last = len(measured) - 1
        shown = measured[np.linspace(0, last, min(last, _POINTS) + 1).round().astype(int)]
        here = here[here["removed"].isin(shown)].assign(share=lambda rows: rows["removed"] / rows["units"])
        draw_lines(axes, here, "share", measure, styles)
        axes.set_title(f"{layer} ({units})", loc="left")
        axes.xaxis.set_major_formatter(PercentFormatter(1))
    if measure == "loss":
        scale_loss(panels)
    order = ranked(curves, styles, measure)
    figure.supxlabel("units removed")
    figure.supylabel(f"test {measure}")
    legend(figure, [style for style, _ in order], "best first")
    return figure


@styled()
def auc_bars(auc: pd.DataFrame, styles: Styles) -> Figure:
    """Areas under the removal curves of all layers together, best criterion on top.

    Args:
        auc: rows of ``auc.csv`` of one network.
        styles: of `criterion_styles`.
    """
    require(auc, "areas under the removal curves")
    order = ranked(auc[auc["layer"] == "all"], styles, "auc_loss")
    figure = Figure(figsize=(8, 0.7 + 0.21 * len(order)))
    left, right = figure.subplots(1, 2, sharey=True)
    draw_ranking(left, order, "auc_loss", bars=True)
    draw_ranking(right, order, "auc_accuracy", bars=True)
    left.set_xlabel("mean rise of the loss (AUC), lower is better")
    right.set_xlabel("mean drop of the accuracy (AUC), lower is better")
    return figure


@styled()
def auc_layers(auc: pd.DataFrame, styles: Styles) -> Figure:
    """Area under the loss curve of each layer and criterion, a column shaded from its best to its worst criterion.

    Args:
        auc: rows of ``auc.csv`` of one network.
        styles: of `criterion_styles`.
    """
    require(auc, "areas under the removal curves")
    order = ranked(auc[auc["layer"] == "all"], styles, "auc_loss")
    layers = list(auc["layer"].unique())
    rows_of = dict(by_style(auc, styles))
    means = np.array([rows_of[style].groupby("layer")["auc_loss"].mean()[layers] for style, _ in order])
    finite = np.ma.masked_invalid(means)  # a loss that overflowed must not take all the shades
    best = finite.min(0)
    spread = finite.max(0) - best
    shades = ((finite - best) / np.ma.where(spread > 0, spread, 1)).filled(1)
    numbered = len(layers) <= _NUMBERED
    figure = Figure(figsize=(2.2 + (0.5 if numbered else 0.28) * len(layers), 1.2 + 0.2 * len(order)))
    axes = figure.subplots()
    axes.imshow(shades, cmap="Blues_r", norm=PowerNorm(0.5, 0, 1), aspect="auto")
    for row, column in np.ndindex(means.shape) if numbered else ():
        strong = "bold" if shades[row, column] == 0 else "normal"
        colour = "white" if shades[row, column] < _DARK else "black"
        text = f"{means[row, column]:.3f}"
        axes.text(column, row, text, ha="center", va="center", fontsize=7, color=colour, fontweight=strong)
    axes.set_yticks(range(len(order)), [style.label for style, _ in order])
    axes.set_xticks(range(len(layers)), layers, rotation=0 if len(layers) <= _LEVEL else 90)
    axes.axvline(len(layers) - 1.5, color="white", linewidth=4)
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)
    axes.grid(visible=False)
    axes.set_xlabel("mean rise of the loss (AUC);\nlower is better,\ndark: the layer's best")
    return figure
