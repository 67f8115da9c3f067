"""The table of ticks says of the paper's criteria what the paper says."""

from __future__ import annotations

import pytest

from benchmarks.max_network import REQUIREMENTS, UNITS, markdown, measure, points


@pytest.fixture(scope="module")
def rows() -> dict[str, dict]:
    return {row["criterion"]: row for row in measure(points(10))}


@pytest.mark.parametrize(
    ("criterion", "missed"),
    [
        ("exact", ()),
        ("permutation", ()),
        ("leave-one-out", ()),
        ("weight-norm", ("D does nothing", "A = B", "C matters most")),
        ("apoz", ("D does nothing",)),
        ("sensitivity", ("A, B, C matter", "C matters most")),
        ("taylor", ("A, B, C matter", "C matters most")),
    ],
)
def test_requirements(rows, criterion, missed):
    assert tuple(name for name in REQUIREMENTS if not rows[criterion][name]) == missed


def test_values(rows):
    # 10 x 10 cells in place of the square: the mid-point rule is off by a few thousandths of the values.
    assert [rows["exact"][unit] for unit in UNITS] == pytest.approx([6.25, 6.25, 37.5, 0], rel=0.02, abs=1e-6)
    assert [rows["weight-norm"][unit] for unit in UNITS] == [1, 2, 2, 2]
    assert not {"grasp", "batchnorm-scale"} & rows.keys()


def test_markdown(rows):
    assert markdown([rows["apoz"]]).splitlines()[-1].endswith("|  | ✓ | ✓ | ✓ |")
