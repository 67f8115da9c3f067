"""The figure of pruned networks that were trained again."""

from __future__ import annotations

import pandas as pd

from shapprune.workflow.figures.fine_tune import fine_tune_amounts
from shapprune.workflow.figures.layout import read
from shapprune.workflow.figures.styles import criterion_styles
from tests.unit.workflow.figures.studies import CRITERIA, labels, tables


def test_amounts_of_images_are_in_their_order(tmp_path):
    styles = criterion_styles(CRITERIA)
    tables(CRITERIA, 2, 2, 1)["fine_tune"].to_csv(tmp_path / "table.csv", index=False)
    accuracy, loss, *others = fine_tune_amounts(read(tmp_path / "table.csv", "net"), styles).axes
    assert labels(accuracy) == labels(loss) == ["0", "20", "100", "all"]
    assert list(accuracy.get_xticks()) == [0, 1, 2, 3]
    assert len(others) == 2  # the other ratio
    table = pd.read_csv(tmp_path / "table.csv")
    numbers = table[table["images"] != "all"].astype({"images": int})
    assert labels(fine_tune_amounts(numbers, styles).axes[0]) == ["0", "20", "100"]
