"""The units as the criteria rank them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from shapprune.workflow.figures.layout import by_style, grid, require, styled
from shapprune.workflow.figures.styles import Style, Styles

_COLUMNS = 64  # of a strip; units of wider layers share one
_LABELS = 2.2  # inches for the names of the criteria and the colour bar
_ROW = 0.14  # inches
_BAR = 1.6  # inches


@styled()
def score_strips(scores: pd.DataFrame, styles: Styles) -> Figure:
    """The rank of every unit by every criterion, a panel a layer.

    Columns are units in the order of the first Shapley value of the study (the first criterion where there is none),
    rows are criteria in the order of their rank correlation with it, which is written at the right.

    Args:
        scores: rows of ``scores.csv`` of one network; of several seeds the first is drawn, of several trials the mean.
        styles: of `criterion_styles`.
    """
    require(scores, "scores")
    seed = scores["seed"].iloc[0]
    means = {
        style: rows.groupby(["layer", "unit"], sort=False)["score"].mean()
        for style, rows in by_style(scores[scores["seed"] == seed], styles)
    }
    reference = next((style for style in means if style.shapley), next(iter(means)))
    ranks = {layer: _ranks(means, layer) for layer in means[reference].index.unique("layer")}
    likeness = {layer: table.corrwith(table[reference]) for layer, table in ranks.items()}
    order = pd.DataFrame(likeness).mean(axis=1).sort_values(ascending=False, kind="stable").index
    figure, panels = grid(len(ranks), size=(2.3, max(1.4, len(order) * _ROW + 0.4)), room=_LABELS, sharey=True)
    for axes, (layer, table) in zip(panels, ranks.items(), strict=True):
        units = table.sort_values(reference, kind="stable")[order].to_numpy()
        strips = np.array([some.mean(0) for some in np.array_split(units, min(len(units), _COLUMNS))]).T
        image = axes.imshow(strips, cmap="cividis", vmin=0, vmax=1, aspect="auto", interpolation="none")
        for row, value in enumerate(likeness[layer][order]):
            text = f"{value:.2f}".replace("-0.00", "0.00") if np.isfinite(value) else "–"
            axes.annotate(text, (1.01, row), xycoords=("axes fraction", "data"), va="center", fontsize=6)
        axes.set_title(f"{layer} ({len(table)})", loc="left")
        axes.set_yticks(range(len(order)), [style.label for style in order])
        axes.set_xticks([])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.grid(visible=False)
    shrink = min(0.8, _BAR / figure.get_figheight())
    bar = figure.colorbar(image, ax=panels, ticks=[0, 1], shrink=shrink, aspect=15, anchor=(0, 1))
    bar.ax.set_yticklabels(["first\nto leave", "last\nto leave"])
    figure.supxlabel(f"seed {seed}, units in the order of {reference.label};\nat the right: rank correlation with it")
    return figure


def _ranks(means: dict[Style, pd.Series], layer: str) -> pd.DataFrame:
    """The rank of each unit of a layer (rows) by each criterion (columns), from 0 to 1; equal scores share a rank."""
    scores = pd.DataFrame({style: series[layer] for style, series in means.items()})
    return (scores.rank() - 1) / max(len(scores) - 1, 1)
