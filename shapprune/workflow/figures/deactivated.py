"""Networks in which the lowest units of every layer are zero."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from shapprune.workflow.figures.layout import (
    WIDE,
    draw_lines,
    draw_ranking,
    grid,
    legend,
    name_places,
    ranked,
    require,
    scale_loss,
    styled,
)
from shapprune.workflow.figures.styles import Styles, reference

_INTACT = reference("intact network")


@styled()
def deactivated_shares(deactivated: pd.DataFrame, styles: Styles, measure: str = "accuracy") -> Figure:
    """Accuracy or loss against the share of units that is zero, a line a criterion.

    Where there is a single share, criteria are ranked instead.

    Args:
        deactivated: rows of ``deactivated.csv`` of one network.
        styles: of `criterion_styles`.
        measure: ``accuracy`` or ``loss``.
    """
    require(deactivated, "deactivated units")
    order, intact = ranked(deactivated, styles, measure), deactivated[f"intact_{measure}"].mean()
    shares = sorted(deactivated["share"].unique())
    if len(shares) == 1:
        figure, (axes,) = grid(1, size=(4, 0.9 + 0.2 * len(order)), room=0)
        draw_ranking(axes, order, measure, bars=False)
        axes.axvline(intact, color="black", linewidth=0.8)
        axes.set_xlabel(f"test {measure}, {100 * shares[0]:g}% of the units at zero\n(line: intact network)")
        return figure
    figure, (axes,) = grid(1)
    draw_lines(axes, deactivated, "share", measure, styles)
    axes.axhline(intact, **_INTACT.line)
    name_places(axes, shares, [f"{100 * share:g}%" for share in shares])
    axes.set_xlabel("units at zero in each layer")
    axes.set_ylabel(f"test {measure}")
    means = deactivated.groupby(["criterion", "aggregate", "share"])[measure].mean()
    if measure == "loss" and means.max() > WIDE * means.min():
        scale_loss([axes])
    legend(figure, [*(style for style, _ in order), _INTACT], "best first")
    return figure
