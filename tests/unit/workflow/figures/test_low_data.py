"""Figures of pruning with little data."""

from __future__ import annotations

from shapprune.workflow.figures.low_data import low_data_curves, low_data_final
from shapprune.workflow.figures.styles import criterion_styles
from tests.unit.workflow.figures.studies import CRITERIA, REPAIRS, tables


def test_a_single_repair_is_no_part_of_the_titles():
    few, several = (tables(CRITERIA, 2, 1, trials)["low_data"] for trials in (1, 3))
    styles = criterion_styles(CRITERIA)
    for draw in (low_data_curves, low_data_final):
        assert not any("repair" in axes.get_title("left") for axes in draw(few, styles).axes)
        titles = [axes.get_title("left").splitlines() for axes in draw(several, styles).axes]
        expected = [f"repair: {repair}" for repair in REPAIRS]
        assert [title[1] for title in titles] == 2 * expected
        assert [title[0][:3] for title in titles] == 3 * ["25%"] + 3 * ["50%"]
