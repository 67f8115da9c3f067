"""The figures of what is done with the units of the highest scores."""

from __future__ import annotations

import numpy as np

from shapprune.workflow.figures.probed import probe_accuracies
from shapprune.workflow.figures.styles import criterion_styles
from shapprune.workflow.figures.tuned import tuned_methods
from tests.unit.workflow.figures.studies import CRITERIA, tables

TABLES = tables(CRITERIA, 2, 2, 3)


def test_methods_are_ranked_by_their_loss_beside_their_accuracy():
    table = TABLES["tuned"]
    figure = tuned_methods(table, criterion_styles(CRITERIA))
    assert figure.get_supxlabel() == "selected: 151 of 1.68k parameters train (line: before the training)"
    by_loss = table.groupby(["method", "aggregate"])["loss"].mean().sort_values()
    places = {"shapley": "shapley ({})"}
    names = [places.get(method, method).format(aggregate) for method, aggregate in by_loss.index]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == names
    assert {"full", "lora"} <= set(names)
    for axes, measure, before in zip(figure.axes, ("loss", "accuracy"), (0.5, 0.8), strict=True):
        means = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"]
        np.testing.assert_allclose(means, table.groupby(["method", "aggregate"])[measure].mean()[by_loss.index])
        np.testing.assert_allclose(axes.lines[-1].get_xdata(), before)


def test_probes_have_a_panel_a_layer_and_all_units_a_line():
    table = TABLES["probed"]
    panels = probe_accuracies(table, criterion_styles(CRITERIA)).axes
    assert [axes.get_title(loc="left") for axes in panels] == [*("layer0.conv (3 units)", "all layers (46 units)")]
    for axes, layer in zip(panels, ("layer0.conv", "all"), strict=True):
        here = table[table["layer"] == layer].groupby(["method", "aggregate"])["accuracy"].mean()
        means = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"]
        np.testing.assert_allclose(means, here.drop("all").sort_values(ascending=False))
        np.testing.assert_allclose(axes.lines[-1].get_xdata(), here["all", "mean"])
    alone = probe_accuracies(table[table["method"] == "taylor"], criterion_styles(CRITERIA))
    assert alone.get_supxlabel() == "test accuracy of the probe"
