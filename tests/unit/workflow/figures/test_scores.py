"""The figure of how criteria rank units."""

from __future__ import annotations

import numpy as np

from shapprune.workflow.figures.scores import score_strips
from shapprune.workflow.figures.styles import criterion_styles
from tests.unit.workflow.figures.studies import CRITERIA, tables


def test_units_are_in_the_order_of_the_first_shapley_value():
    table = tables(CRITERIA, 1, 2, 2)["scores"]
    axes = score_strips(table, criterion_styles(CRITERIA)).axes[0]
    rows = [label.get_text() for label in axes.get_yticklabels()]
    assert rows[0] == "shapley (mean)"
    strips = dict(zip(rows, axes.images[0].get_array(), strict=True))
    np.testing.assert_allclose(strips["shapley (mean)"], [0, 0.5, 1])
    first = table[(table["seed"] == 0) & (table["aggregate"] == "mean")].groupby(["criterion", "unit"])["score"].mean()
    columns = first["shapley"].argsort()  # unit of each column
    np.testing.assert_allclose(strips["taylor"], (first["taylor"].rank() - 1)[columns] / 2)
