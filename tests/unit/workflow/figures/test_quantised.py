"""The figure of networks with weights of few bits."""

from __future__ import annotations

import pytest

from shapprune.workflow.figures.quantised import quantised_methods
from tests.unit.workflow.figures.studies import CRITERIA, tables


def test_methods_and_betas_have_a_row_in_each_panel():
    table = tables(CRITERIA, 2, 2, 3)["quantised"]
    four_loss, four_accuracy, _, eight_loss, *_ = quantised_methods(table).axes
    named = [text.get_text() for text in four_loss.get_yticklabels()]
    assert named == ["round", "a-method, beta 0.1", "a-method, beta 0.5"]
    assert (four_loss.get_title("left"), eight_loss.get_title("left")) == ("4 bits", "8 bits")
    assert four_accuracy.get_xlabel() == "test accuracy"
    circles = [line for line in four_loss.lines if line.get_marker() == "o"]
    rounded = table[(table["method"] == "round") & (table["bits"] == 4)]
    assert circles[0].get_xdata()[0] == pytest.approx(rounded["loss"].mean())
    assert [circle.get_markerfacecolor() == "white" for circle in circles] == [True, False, False]
