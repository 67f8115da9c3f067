"""Figures of removal curves and of the areas under them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from shapprune.workflow.figures.removal import auc_layers, removal_curves
from shapprune.workflow.figures.styles import criterion_styles
from tests.unit.workflow.figures.studies import CRITERIA, tables


@pytest.mark.parametrize(("measured", "drawn"), [(17, 17), (401, 51)])
def test_points_that_were_measured_are_drawn_up_to_fifty(measured, drawn):
    removed = np.linspace(0, 400, measured).round().astype(int)
    about = {"net": "a", "seed": 0, "criterion": "random", "aggregate": "mean", "trial": 0, "layer": "fc", "units": 400}
    curves = pd.DataFrame(about | {"removed": removed, "loss": 1 + removed / 400, "accuracy": 1 - removed / 400})
    (axes,) = removal_curves(curves, criterion_styles({"random": {"method": "random", "aggregates": ["mean"]}})).axes
    (line,) = axes.lines
    assert len(line.get_xdata()) == drawn
    assert (line.get_xdata()[0], line.get_xdata()[-1]) == (0, 1)


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_a_loss_that_overflowed_leaves_the_others_as_they_were(bad):
    table, styles = tables(CRITERIA, 2, 1, 1)["auc"], criterion_styles(CRITERIA)
    whole = auc_layers(table[table["criterion"] != "random"], styles).axes[0]
    table.loc[table["criterion"] == "random", "auc_loss"] = bad
    axes = auc_layers(table, styles).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()][-1] == "random"
    shades, others = axes.images[0].get_array(), whole.images[0].get_array()
    np.testing.assert_array_equal(shades[:-1], others)
    assert (shades[-1] == 1).all()
