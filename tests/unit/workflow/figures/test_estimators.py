"""Figures of estimators against the truth."""

from __future__ import annotations

from shapprune.workflow.figures.estimators import estimators_cost, estimators_pruning
from shapprune.workflow.figures.styles import criterion_styles
from tests.unit.workflow.figures.studies import CRITERIA, tables

STYLES = criterion_styles({name: {"method": settings["method"]} for name, settings in CRITERIA.items()})


def test_the_gap_is_drawn_where_the_oracle_sets_are_known():
    table = tables(CRITERIA, 2, 1, 1)["estimators"]
    panels = [(axes.get_title("left"), axes.get_ylabel()) for axes in estimators_pruning(table, STYLES).axes]
    assert panels == [
        ("layer0.conv (3)", "area under the loss curve"),
        ("layer0.conv (3)", "mean gap to the oracle"),
        ("layer1.conv (43)", "area under the loss curve"),
    ]


def test_the_truth_is_no_line_of_its_own():
    error, rank = estimators_cost(tables(CRITERIA, 1, 2, 2)["estimators"], STYLES).axes
    assert len(error.lines) == len(rank.lines) == len(CRITERIA)
