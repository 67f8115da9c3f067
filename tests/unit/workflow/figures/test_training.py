"""The figure of trainings."""

from __future__ import annotations

from shapprune.workflow.figures.training import training_curves
from tests.unit.workflow.figures.studies import CRITERIA, tables


def test_the_epoch_that_is_kept_has_the_highest_accuracy_and_of_equals_the_lowest_loss():
    table = tables(CRITERIA, 1, 1, 1)["training"]
    table["validation_accuracy"], table["validation_loss"] = [0.8, 0.9, 0.9], [0.1, 0.4, 0.3]
    loss, accuracy = training_curves(table).axes
    kept = [axes.lines[-1].get_xydata().tolist() for axes in (loss, accuracy)]
    assert kept == [[[3, 0.3]], [[3, 0.9]]]
