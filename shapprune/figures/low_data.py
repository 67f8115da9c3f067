"""What is left of networks that were pruned layer by layer with little data."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from shapprune.figures.layout import (
    by_style,
    draw_line,
    draw_ranking,
    grid,
    legend,
    ranked,
    require,
    scale_loss,
    styled,
)
from shapprune.figures.styles import Styles

_SIZES = ["parameters", "macs"]
_LEVEL = 6  # steps, beyond which there is no room for their names side by side


@styled()
def low_data_curves(low_data: pd.DataFrame, styles: Styles, of: str = "accuracy") -> Figure:
    """Accuracy or loss after each pruned layer, one panel a ratio.

    Args:
        low_data: rows of ``low_data.csv`` of one network.
        styles: of `criterion_styles`.
        of: ``accuracy`` or ``loss``.
    """
    require(low_data, "pruning with little data")
    ratios = sorted(low_data["ratio"].unique())
    steps = low_data.groupby("step")["layer"].first().fillna("intact")
    level = len(steps) <= _LEVEL
    figure, panels = grid(len(ratios), size=None if level else (3.4, 3), sharex=True, sharey=True)
    for axes, ratio in zip(panels, ratios, strict=True):
        for style, rows in by_style(low_data[low_data["ratio"] == ratio], styles):
            draw_line(axes, rows, "step", of, style)
        axes.set_title(f"{100 * ratio:.4g}% of the units removed", loc="left")
        axes.set_xticks(steps.index, steps, rotation=0 if level else 90)
    if of == "loss":
        scale_loss(panels)
    last = low_data[low_data["step"] == low_data["step"].max()]
    order = ranked(last, styles, of)
    figure.supxlabel("layers pruned so far, from output to input")
    figure.supylabel(f"test {of}")
    legend(figure, [style for style, _ in order], "best first")
    return figure


@styled()
def low_data_final(low_data: pd.DataFrame, styles: Styles, of: str = "accuracy") -> Figure:
    """Accuracy or loss when all layers are pruned, best criterion on top, one panel a ratio.

    Args:
        low_data: rows of ``low_data.csv`` of one network.
        styles: of `criterion_styles`.
        of: ``accuracy`` or ``loss``.
    """
    require(low_data, "pruning with little data")
    intact = low_data[low_data["step"] == 0][[of, *_SIZES]].mean()
    last = low_data[low_data["step"] == low_data["step"].max()]
    ratios = sorted(last["ratio"].unique())
    lines = last.groupby(["criterion", "aggregate"]).ngroups
    figure, panels = grid(len(ratios), columns=min(3, len(ratios)), size=(4, 0.9 + 0.2 * lines), room=0)
    for axes, ratio in zip(panels, ratios, strict=True):
        here = last[last["ratio"] == ratio]
        draw_ranking(axes, ranked(here, styles, of), of, bars=False)
        parameters, macs = here[_SIZES].mean() / intact[_SIZES]
        size = f"left: {parameters:.0%} parameters, {macs:.0%} MACs"
        axes.set_title(f"{100 * ratio:.4g}% of the units removed\n{size}", loc="left")
        axes.axvline(intact[of], color="black", linewidth=0.8)
        axes.set_xlabel(f"test {of} (line: intact network)")
    return figure
