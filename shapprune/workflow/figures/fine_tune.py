"""Pruned networks that were trained again with more or less data."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from shapprune.workflow.figures.layout import (
    draw_lines,
    draw_ranking,
    grid,
    legend,
    name_places,
    ranked,
    removed,
    require,
    scale_loss,
    styled,
)
from shapprune.workflow.figures.styles import Styles


@styled()
def fine_tune_amounts(fine_tune: pd.DataFrame, styles: Styles) -> Figure:
    """Accuracy and loss against the number of training images; two panels a ratio.

    Amounts are evenly spaced. Where there is a single one, criteria are ranked instead.

    Args:
        fine_tune: rows of ``fine_tune.csv`` of one network.
        styles: of `criterion_styles`.
    """
    require(fine_tune, "training pruned networks again")
    amounts = sorted(fine_tune["images"].astype(str).unique(), key=lambda each: (each == "all", len(each), each))
    table = fine_tune.assign(place=fine_tune["images"].astype(str).map(amounts.index))
    ratios = sorted(table["ratio"].unique())
    single = len(amounts) == 1
    lines = table.groupby(["criterion", "aggregate"]).ngroups
    if single:
        figure, panels = grid(2 * len(ratios), columns=2, size=(4, 0.9 + 0.2 * lines), room=0)
    else:
        figure, panels = grid(2 * len(ratios), columns=2)
    for axes, (ratio, measure) in zip(
        panels, ((ratio, measure) for ratio in ratios for measure in ("accuracy", "loss")), strict=True
    ):
        here = table[table["ratio"] == ratio]
        axes.set_title(removed(ratio), loc="left")
        if single:
            draw_ranking(axes, ranked(here, styles, measure), measure, bars=False)
            axes.locator_params(axis="x", nbins=4)
            axes.set_xlabel(f"test {measure}, training images: {amounts[0]}")
            continue
        draw_lines(axes, here, "place", measure, styles)
        name_places(axes, range(len(amounts)), amounts)
        axes.set_ylabel(f"test {measure}")
        if measure == "loss":
            scale_loss([axes])
    if not single:
        figure.supxlabel("training images")
        legend(figure, [style for style, _ in ranked(table, styles, "accuracy")], "best first")
    return figure
