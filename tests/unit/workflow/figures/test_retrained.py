"""The figure of networks that fit budgets and were trained on."""

from __future__ import annotations

import numpy as np

from shapprune.workflow.figures.retrained import retrained_methods
from shapprune.workflow.figures.styles import criterion_styles
from tests.unit.workflow.figures.studies import CRITERIA, tables

STYLES = criterion_styles({name: {"method": settings["method"]} for name, settings in CRITERIA.items()})


def test_methods_are_ranked_by_what_training_leaves_beside_what_was_before():
    table = tables(CRITERIA, 2, 2, 3)["retrained"]
    panels = retrained_methods(table, STYLES).axes
    assert [axes.get_title(loc="left") for axes in panels] == [
        title for share in (75, 50, 25) for title in (f"{share}% of the MACs, trained on", "before that")
    ]
    for after, before, budget in zip(panels[::2], panels[1::2], (0.75, 0.5, 0.25), strict=True):
        here = table[table["budget"] == budget].groupby("method")
        best = here["accuracy"].mean().sort_values(ascending=False)
        assert [label.get_text() for label in after.get_yticklabels()] == [*best.index]
        for axes, measure in ((after, "accuracy"), (before, "accuracy_before")):
            means = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"]
            np.testing.assert_allclose(means, here[measure].mean()[best.index])
            np.testing.assert_allclose(axes.lines[-1].get_xdata(), 0.9)  # the intact network
