"""The figure of networks whose lowest units are zero."""

from __future__ import annotations

import numpy as np
import pytest

from shapprune.workflow.figures.deactivated import deactivated_shares
from shapprune.workflow.figures.styles import criterion_styles
from tests.unit.workflow.figures.studies import CRITERIA, labels, tables

STYLES = criterion_styles(CRITERIA)


@pytest.mark.parametrize("measure", ["loss", "accuracy"])
def test_criteria_are_drawn_against_the_share(measure):
    table = tables(CRITERIA, 2, 2, 3)["deactivated"]
    figure = deactivated_shares(table, STYLES, measure)
    (axes,) = figure.axes
    *criteria, intact = axes.lines
    assert len(criteria) == len(axes.collections) == 4  # lines and bands, one an order
    assert labels(axes) == ["5%", "10%", "30%"]
    here = table[(table["criterion"] == "random") & (table["share"] == 0.05)]
    assert criteria[0].get_ydata()[0] == pytest.approx(here[measure].mean())
    np.testing.assert_allclose(intact.get_ydata(), table[f"intact_{measure}"].iloc[0])
    means = table.groupby(["criterion", "aggregate"])[measure].mean().sort_values(ascending=measure == "loss")
    order = [text.get_text() for text in figure.legends[0].get_texts()]
    assert order == [*(STYLES[each].label for each in means.index), "intact network"]


def test_criteria_are_ranked_where_there_is_one_share():
    figure = deactivated_shares(tables(CRITERIA, 1, 1, 1)["deactivated"], STYLES, "loss")
    assert len(figure.axes[0].get_yticks()) == 4
    assert "30% of the units at zero" in figure.axes[0].get_xlabel()
