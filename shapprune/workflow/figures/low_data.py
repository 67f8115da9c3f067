"""What is left of networks that were pruned layer by layer with little data."""

from __future__ import annotations

from typing import Literal

import pandas as pd
from matplotlib.figure import Figure

from shapprune.workflow.figures.layout import (
    draw_lines,
    draw_ranking,
    grid,
    legend,
    level,
    name_places,
    ranked,
    removed,
    require,
    scale_loss,
    steps_of,
    styled,
)
from shapprune.workflow.figures.styles import Styles

_SIZES = ["parameters", "macs"]


@styled()
def low_data_curves(low_data: pd.DataFrame, styles: Styles, measure: str = "accuracy") -> Figure:
    """Accuracy or loss after each pruned layer, one panel a ratio; of several repairs, one panel each in its row.

    Args:
        low_data: rows of ``low_data.csv`` of one network.
        styles: of `criterion_styles`.
        measure: ``accuracy`` or ``loss``.
    """
    require(low_data, "pruning with little data")
    parts, columns = _parts(low_data)
    steps = steps_of(low_data)
    size = None if level(steps) else (3.4, 3.0)
    # Of several repairs a row has the panels of one ratio; else all ratios are in one row.
    figure, panels = grid(len(parts), columns, size, sharex=True, sharey="row" if columns else True)
    for axes, (title, here) in zip(panels, parts.items(), strict=True):
        draw_lines(axes, here, "step", measure, styles)
        axes.set_title(title, loc="left")
        name_places(axes, steps.index, steps)
    if measure == "loss":
        for start in range(0, len(panels), columns or len(panels)):
            scale_loss(panels[start : start + (columns or len(panels))])
    last = low_data[low_data["step"] == low_data["step"].max()]
    order = ranked(last, styles, measure)
    figure.supxlabel("layers pruned so far, from output to input")
    figure.supylabel(f"test {measure}")
    legend(figure, [style for style, _ in order], "best first")
    return figure


@styled()
def low_data_final(low_data: pd.DataFrame, styles: Styles, measure: str = "accuracy") -> Figure:
    """Accuracy or loss when all layers are pruned, best criterion on top, in the panels of `low_data_curves`.

    Args:
        low_data: rows of ``low_data.csv`` of one network.
        styles: of `criterion_styles`.
        measure: ``accuracy`` or ``loss``.
    """
    require(low_data, "pruning with little data")
    intact = low_data[low_data["step"] == 0][[measure, *_SIZES]].mean()
    parts, repairs = _parts(low_data[low_data["step"] == low_data["step"].max()])
    columns = repairs or min(3, len(parts))
    lines = low_data.groupby(["criterion", "aggregate"]).ngroups
    # Repairs of one ratio compare on one axis.
    sharex: Literal["row"] | bool = "row" if repairs else False
    figure, panels = grid(len(parts), columns, (4, 0.9 + 0.2 * lines), room=0, sharex=sharex)
    for axes, (title, here) in zip(panels, parts.items(), strict=True):
        draw_ranking(axes, ranked(here, styles, measure), measure, bars=False)
        parameters, macs = here[_SIZES].mean() / intact[_SIZES]
        axes.set_title(f"{title}\nleft: {parameters:.0%} parameters, {macs:.0%} MACs", loc="left")
        axes.axvline(intact[measure], color="black", linewidth=0.8)
        axes.set_xlabel(f"test {measure} (line: intact network)")
    return figure


def _parts(low_data: pd.DataFrame) -> tuple[dict[str, pd.DataFrame], int | None]:
    """The rows of each panel by its title, and how many panels are in a row where there are several repairs."""
    repairs = low_data["repair"].unique()
    several = len(repairs) > 1
    parts = {
        removed(ratio) + (f"\nrepair: {repair}" if several else ""): low_data[
            (low_data["ratio"] == ratio) & (low_data["repair"] == repair)
        ]
        for ratio in sorted(low_data["ratio"].unique())
        for repair in repairs
    }
    return parts, len(repairs) if several else None
