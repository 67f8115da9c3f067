"""The figure of networks that fit budgets."""

from __future__ import annotations

import numpy as np
import pandas as pd

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


def test_many_methods_are_ranked_in_one_order_for_each_budget():
    rows = tables(CRITERIA, 1, 1, 1)["budgets"]
    table = pd.concat(
        rows.assign(method=rows["method"] + f" {again}", budget=budget, macs=rows["intact_macs"] * budget)
        for again in range(5)
        for budget in (0.75, 0.25)
    )
    names = sorted(table["method"].unique())
    assert len(names) > 12
    table = table[(table["method"] != names[0]) | (table["budget"] == 0.75)]  # one has a single budget
    figure = budget_tradeoff(table, criterion_styles({name: {"method": "random"} for name in names}))
    wide, narrow = figure.axes
    assert ["75%" in wide.get_xlabel(), "25%" in narrow.get_xlabel()] == [True, True]
    assert len(wide.get_yticks()) == len(narrow.get_yticks()) == len(names)
    drawn = [sum(line.get_marker() == "o" for line in axes.lines) for axes in (wide, narrow)]
    assert drawn == [len(names), len(names) - 1]
