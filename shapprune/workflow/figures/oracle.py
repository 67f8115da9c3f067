"""How near the criteria come to the best sets of units."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from shapprune.workflow.figures.layout import PLAIN, draw_lines, grid, legend, ranked, require, styled
from shapprune.workflow.figures.styles import DOTTED, Styles, reference

_CHANCE = reference("overlap by chance", DOTTED)
_ORACLE = "oracle sets"


@styled()
def oracle_overlap(oracle: pd.DataFrame, styles: Styles) -> Figure:
    """Overlap with the oracle sets up to each size, and what is lost against them; two panels a layer.

    Args:
        oracle: rows of ``oracle.csv`` of one network.
        styles: of `criterion_styles`.
    """
    require(oracle, "oracle sets")
    oracle = oracle[oracle["criterion"] != _ORACLE]  # what the others are compared with
    layers = oracle["layer"].unique()
    figure, panels = grid(2 * len(layers), columns=2 if len(layers) <= 4 else 4)
    for place, layer in enumerate(layers):
        here = oracle[oracle["layer"] == layer]
        overlap, gap = panels[2 * place : 2 * place + 2]
        draw_lines(overlap, here, "size", "cumulative_overlap", styles)
        draw_lines(gap, here, "size", "gap", styles, band=False)
        sizes = np.sort(here["size"].unique())
        units = sizes.max() + 1
        # A random set of s units shares s^2/n of them with the oracle set; both are summed over the sizes up to s.
        chance = np.cumsum(sizes**2 / units) / np.cumsum(sizes)
        overlap.plot(sizes, chance, **_CHANCE.line)
        overlap.set_ylim(-0.03, 1.03)
        overlap.set_ylabel("cumulative overlap")
        top = max(gap.dataLim.y1, 1e-6)
        gap.set_yscale("symlog", linthresh=10 ** (math.floor(math.log10(top)) - 1))
        gap.set_ylim(0, 1.1 * top)
        gap.yaxis.set_major_formatter(PLAIN)
        gap.set_ylabel("gap to the oracle")
        for axes in (overlap, gap):
            axes.set_title(f"{layer} ({units})", loc="left")
            axes.set_xlabel("units removed")
            axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    order = [style for style, _ in ranked(oracle, styles, "gap")]
    legend(figure, [*order, _CHANCE], "smallest gap first")
    return figure


@styled()
def oracle_accuracy(oracle: pd.DataFrame, styles: Styles) -> Figure:
    """Accuracy of what the oracle sets and the criteria leave, by the units removed; a panel a layer.

    Args:
        oracle: rows of ``oracle.csv`` of one network.
        styles: of `criterion_styles`.
    """
    require(oracle, "oracle sets")
    layers = oracle["layer"].unique()
    figure, panels = grid(len(layers), sharey=True)
    for axes, layer in zip(panels, layers, strict=True):
        here = oracle[oracle["layer"] == layer]
        draw_lines(axes, here, "size", "accuracy", styles, band=False)
        axes.set_title(f"{layer} ({here['size'].max() + 1})", loc="left")
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    figure.supxlabel("units removed")
    figure.supylabel("accuracy")
    legend(figure, [style for style, _ in ranked(oracle, styles, "accuracy")], "best first")
    return figure
