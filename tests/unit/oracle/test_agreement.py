"""How near scores come to the truth, on cases computed by hand."""

from __future__ import annotations

import math

import pytest

from shapprune.oracle.agreement import bottom_overlap, kendall, mse_ratio, spearman


def test_by_hand():
    truth, found = [1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 2.0, 4.0]
    assert spearman(found, truth) == pytest.approx(0.8)  # 1 - 6 (0 + 1 + 1 + 0) / (4 x 15)
    assert kendall(found, truth) == pytest.approx(2 / 3)  # five pairs in order, one not
    assert mse_ratio(found, truth) == pytest.approx(0.5 / 1.25)
    assert bottom_overlap(found, truth) == 1
    assert bottom_overlap(found, truth, share=0.5) == 0.5
    assert bottom_overlap([2.0, 1.0], [1.0, 2.0]) == 0  # at least one unit is lowest


def test_of_equal_scores():
    assert math.isnan(spearman([1, 1, 1], [1, 2, 3]))
    assert math.isnan(kendall([1, 2, 3], [1, 1, 1]))
    assert math.isnan(mse_ratio([1, 2, 3], [2, 2, 2]))
    assert bottom_overlap([0, 0, 0, 0], [1, 2, 3, 4]) == 1
