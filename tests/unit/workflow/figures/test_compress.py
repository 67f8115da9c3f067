"""The figure of compressed networks."""

from __future__ import annotations

import numpy as np

from shapprune.workflow.figures.compress import compress_sizes
from shapprune.workflow.figures.styles import criterion_styles
from tests.unit.workflow.figures.studies import CRITERIA, NETWORKS, labels, tables


def test_compressed_networks_are_drawn_beside_the_intact_one():
    styles = criterion_styles(CRITERIA)
    after, before = compress_sizes(tables(CRITERIA, 5, 2, 1)["compress"], NETWORKS, styles).axes
    assert labels(after) == labels(before)
    assert labels(after) == ["tiny\n900", "1\n2k", "a-name-that-is-long\nnear\n10k–10.1k", "half\n50k"]
    np.testing.assert_allclose(after.lines[-1].get_ydata(), 0.85)
    assert after.get_xscale() == "log"
    ranking = compress_sizes(tables(CRITERIA, 1, 2, 1)["compress"], NETWORKS, styles)
    assert len(ranking.axes[0].get_yticks()) == 4
    assert "half: 50k parameters" in ranking.get_supxlabel()
