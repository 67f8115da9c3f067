"""The pages of docs/results that are written from tables say what these say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.low_data.leaderboard import write_board
from benchmarks.low_data.results import Results
from benchmarks.low_data.rows import Table

FOLDER = Path(__file__).parents[2] / "docs" / "results" / "low_data"
_NUMBER = re.compile(r"(?<![\w.])-?\d*\.?\d+(?:e-?\d+)?(?!\w)")


@pytest.mark.parametrize("name", ["leaderboard.md", "leaderboard.csv", "pairs.csv"])
def test_the_leaderboard_is_what_its_table_says(name, tmp_path):
    write_board(Results(Table.read(FOLDER / "budgets.csv")), 100, tmp_path)
    written, found = (tmp_path / name).read_text(), (FOLDER / name).read_text()
    assert _NUMBER.sub("#", written) == _NUMBER.sub("#", found), "write it again: make results"
    numbers, expected = ([float(each) for each in _NUMBER.findall(text)] for text in (found, written))
    assert numbers == pytest.approx(expected, rel=1e-3, abs=2e-4)  # sums of float32 in another order
    pictures = re.findall(r"\((\w+\.png)\)", found)
    assert all((FOLDER / each).is_file() for each in pictures)
    assert bool(pictures) == name.endswith(".md")
