"""Targets: one measure, checked where it is made, and what it keeps of each layer."""

from __future__ import annotations

import subprocess
import sys

import pytest

from shapprune import ShapPruneError
from shapprune.pruning.target import MEASURES, Target, require_one

UNITS = {"a": 4, "b": 5}


@pytest.mark.parametrize(
    ("options", "measure"),
    [
        ({"ratio": 0.5}, "ratio"),
        ({"widths": {}}, "widths"),
        ({"negative": True}, "negative"),
        ({"loss_growth": 0}, "loss_growth"),
        ({"parameters": 100}, "parameters"),
        ({"macs": 100, "negative": False, "ratio": None}, "macs"),
    ],
)
def test_one_measure(options, measure):
    assert Target(**options).measure == measure


@pytest.mark.parametrize("options", [{}, {"ratio": 0.5, "negative": True}, {"loss_growth": 0.0, "macs": 3}])
def test_none_or_several_measures(options):
    with pytest.raises(ShapPruneError) as error:
        Target(**options)
    assert all(measure in str(error.value) for measure in MEASURES)
    require_one(ratio=0.5, negative=False)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"ratio": 0}, "ratio 0 "),
        ({"ratio": 1.0}, "ratio 1.0 "),
        ({"ratio": -0.1}, "ratio -0.1 "),
        ({"ratio": float("nan")}, "ratio nan "),
        ({"widths": {"a": "few"}}, "width 'few' of layer 'a'"),
        ({"widths": {"a": True}}, "width True of layer 'a'"),
        ({"loss_growth": -0.1}, "loss_growth -0.1 "),
        ({"loss_growth": float("inf")}, "loss_growth inf "),
        ({"loss_growth": 0.1, "groups": [("a",), ("b", "c")]}, "b, c"),
        ({"ratio": 0.5, "multiple": 0}, "multiple 0 "),
    ],
)
def test_values_that_no_network_could_have(options, named):
    with pytest.raises(ShapPruneError) as error:
        Target(**options)
    assert named in str(error.value)


def test_what_is_kept():
    assert Target(ratio=0.5).keep(UNITS) == {"a": 2, "b": 3}
    assert Target(ratio=0.29).keep({"a": 100}) == {"a": 71}  # 0.29 * 100 is a little less than 29 in floats
    assert Target(ratio=0.5, multiple=2).keep(UNITS) == {"a": 2, "b": 4}
    assert Target(ratio=0.5, multiple=8).keep(UNITS) == UNITS  # there are no eight
    assert Target(widths={"a": 3}).keep(UNITS) == {"a": 3, "b": 5}
    assert Target(widths={"c": 1}, groups=[("a", "c")]).keep(UNITS | {"c": 4}) == {"a": 1, "b": 5, "c": 1}
    for options in ({"negative": True}, {"loss_growth": 0.1}, {"parameters": 10}, {"macs": 10}):
        assert Target(**options).keep(UNITS) is None


def test_groups_in_the_order_of_their_first_layers():
    target = Target(negative=True, groups=[("c", "d"), ("a", "e"), ("x", "y")])
    assert target.together(dict.fromkeys("abcde", 3)) == [("a", "e"), ("b",), ("c", "d")]


def test_importing_it_costs_nothing():
    code = (
        "import sys, shapprune.pruning.repair, shapprune.pruning.target;"
        "sys.exit(any(name in sys.modules for name in ('torch', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
