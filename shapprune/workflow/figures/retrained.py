"""Networks that fit budgets, before and after they were trained on."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from shapprune.workflow.figures.layout import budget_in_words, draw_before_and_after, grid, ranked, require, styled
from shapprune.workflow.figures.styles import Styles


@styled()
def retrained_methods(retrained: pd.DataFrame, styles: Styles) -> Figure:
    """Accuracy of each method after the training and, paler, before it; a row of panels a budget, the largest first.

    Args:
        retrained: rows of ``retrained.csv`` of one network.
        styles: of `criterion_styles`, by the names of the methods.
    """
    require(retrained, "networks that fit budgets and were trained on")
    table = retrained.assign(criterion=retrained["method"], aggregate="mean")
    budgets = sorted(table.groupby(["budget", "measure"]), reverse=True, key=lambda each: each[0])
    methods, intact = table["method"].nunique(), table["intact_accuracy"].mean()
    figure, panels = grid(2 * len(budgets), columns=2, size=(4, 0.9 + 0.2 * methods), room=0, sharey="row")
    for row, ((budget, measure), here) in enumerate(budgets):
        of = budget_in_words(budget, measure)
        titles = {"accuracy": f"{of}, trained on", "accuracy_before": "before that"}
        draw_before_and_after(panels[2 * row : 2 * row + 2], ranked(here, styles, "accuracy"), titles, intact)
    figure.supxlabel("test accuracy (line: intact network)")
    return figure
