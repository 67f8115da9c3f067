"""Networks that were never trained, as the units that score below zero leave."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from shapprune.workflow.figures.layout import (
    by_style,
    draw_line,
    draw_seeds,
    grid,
    legend,
    level,
    name_places,
    ranked,
    require,
    steps_of,
    styled,
)
from shapprune.workflow.figures.styles import Styles, reference

_CHANCE = reference("chance")


@styled()
def untrained_steps(
    untrained: pd.DataFrame, styles: Styles, layers: Mapping[str, int], classes: int | None = None
) -> Figure:
    """Accuracy after each layer, and the share of the layer's units that are left; thin lines are single seeds.

    Args:
        untrained: rows of ``untrained.csv`` of one network.
        styles: of `criterion_styles`.
        layers: layer -> its units before any left.
        classes: how many classes there are, for a line at the accuracy of guessing; None draws none.
    """
    require(untrained, "untrained networks")
    table = untrained.assign(left=(untrained["units_left"] / untrained["layer"].map(layers)).fillna(1))
    steps = steps_of(table)
    figure, (accuracy, left) = grid(2, size=None if level(steps) else (3.4, 3.0))
    for axes, measure in ((accuracy, "accuracy"), (left, "left")):
        for style, rows in by_style(table, styles):
            draw_line(axes, rows, "step", measure, style, band=False)
            draw_seeds(axes, rows, "step", measure, style)
        name_places(axes, steps.index, steps)
    accuracy.set_ylabel("test accuracy")
    left.set_ylabel("units left in the layer")
    left.yaxis.set_major_formatter(PercentFormatter(1))
    left.set_ylim(-0.03, 1.03)
    if classes:
        accuracy.axhline(1 / classes, **_CHANCE.line)
    figure.supxlabel("layers pruned so far, from output to input")
    order = ranked(table[table["step"] == steps.index.max()], styles, "accuracy")
    legend(figure, [*(style for style, _ in order), *([_CHANCE] if classes else [])], "best first")
    return figure
