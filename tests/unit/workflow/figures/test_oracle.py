"""Figures of criteria against the oracle sets."""

from __future__ import annotations

import numpy as np

from shapprune.workflow.figures.oracle import oracle_overlap
from shapprune.workflow.figures.styles import criterion_styles
from tests.unit.workflow.figures.studies import CRITERIA, tables


def test_overlap_is_drawn_beside_that_of_chance():
    overlap, gap = oracle_overlap(tables(CRITERIA, 1, 1, 1)["oracle"], criterion_styles(CRITERIA)).axes
    # One of three units removed: 1/3 of it in common; then two of three: (1/3 + 4/3) of 3.
    np.testing.assert_allclose(overlap.lines[-1].get_ydata(), [1 / 3, 5 / 9])
    assert len(overlap.lines) == len(gap.lines) + 1 == 4 + 1 + 1  # criteria and aggregates, exact Shapley, chance
