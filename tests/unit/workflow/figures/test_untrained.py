"""The figure of untrained networks."""

from __future__ import annotations

from shapprune.workflow.figures.styles import criterion_styles
from shapprune.workflow.figures.untrained import untrained_steps
from tests.unit.workflow.figures.studies import CRITERIA, labels, tables

LAYERS = ("layer0.conv", "layer1.conv")


def test_untrained_networks_are_drawn_beside_chance():
    table = tables(CRITERIA, 2, 3, 1)["untrained"]
    accuracy, left = untrained_steps(table, criterion_styles(CRITERIA), dict.fromkeys(LAYERS, 2), classes=10).axes
    assert labels(accuracy) == ["intact", "layer1.conv", "layer0.conv"]
    assert [0.1, 0.1] in [list(line.get_ydata()) for line in accuracy.lines]
    assert len(left.lines) == 4 * (1 + 3)  # the mean and the seeds of each criterion and aggregate
    assert all(list(line.get_ydata()) == [1, 1, 1] for line in left.lines)
    _, left = untrained_steps(table, criterion_styles(CRITERIA), dict.fromkeys(LAYERS, 4)).axes
    assert all(list(line.get_ydata()) == [1, 0.5, 0.5] for line in left.lines)
