"""The figure of networks that fit budgets."""

from __future__ import annotations

import numpy as np

from shapprune.workflow.figures.budgets import budget_tradeoff
from shapprune.workflow.figures.styles import criterion_styles
from tests.unit.workflow.figures.studies import CRITERIA, tables

STYLES = criterion_styles({name: {"method": settings["method"]} for name, settings in CRITERIA.items()})


def test_methods_are_drawn_against_the_share_that_is_left():
    table = tables(CRITERIA, 2, 2, 3)["budgets"]
    figure = budget_tradeoff(table, STYLES)
    (axes,) = figure.axes
    *methods, intact = axes.lines
    assert len(methods) == len(CRITERIA)
    # Trials of a budget differ a little in what they cost; a line has one point a budget.
    np.testing.assert_allclose(methods[0].get_xdata(), [(5000 * budget - 9) / 5000 for budget in (0.25, 0.5, 0.75)])
    here = table[(table["method"] == "random") & (table["budget"] == 0.25)]
    assert methods[0].get_ydata()[0] == here["accuracy"].mean()
    np.testing.assert_allclose(intact.get_ydata(), 0.9)
    assert len(axes.collections) == len(CRITERIA)  # the bands
    order = [text.get_text() for text in figure.legends[0].get_texts()]
    means = table.groupby("method")["accuracy"].mean().sort_values(ascending=False)
    assert order == [*means.index, "intact network"]


def test_methods_are_ranked_where_there_is_one_budget():
    figure = budget_tradeoff(tables(CRITERIA, 1, 1, 1)["budgets"], STYLES)
    assert len(figure.axes[0].get_yticks()) == len(CRITERIA)
    assert "with 50% of the MACs" in figure.axes[0].get_xlabel()
