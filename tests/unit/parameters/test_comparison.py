"""Paired t-tests, by hand."""

from __future__ import annotations

import math

import pytest

from shapprune import ShapPruneError
from shapprune.parameters.comparison import holm, paired_tests


def test_a_test_is_that_of_the_differences():
    """Differences 1, 2 and 3: mean 2, standard error 1 / sqrt(3), and P(|t| > 2 sqrt(3)) with 2 degrees of freedom."""
    (test,) = paired_tests({"one": [5.0, 7.0, 9.0], "other": [4.0, 5.0, 6.0]})
    assert (test.one, test.other, test.runs, test.difference) == ("one", "other", 3, 2.0)
    assert test.t == pytest.approx(2 * math.sqrt(3))
    assert test.p == test.p_holm == pytest.approx(1 - test.t / math.sqrt(2 + test.t**2))


def test_several_tests_are_corrected_as_holm_does():
    values = {"a": [0.0, 0.1, 0.05, 0.0], "b": [1.0, 1.1, 1.05, 1.01], "c": [1.1, 1.0, 1.2, 1.3]}
    tests = {(test.one, test.other): test for test in paired_tests(values)}
    first, second, third = sorted(tests.values(), key=lambda test: test.p)
    assert list(tests) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert first.p_holm == pytest.approx(3 * first.p)
    assert second.p_holm == pytest.approx(2 * second.p)
    assert third.p_holm == pytest.approx(third.p)
    assert third.p > 0.05 > second.p
    # One that comes later is not smaller.
    near = paired_tests({"a": [0.0, 1.0, 3.0], "b": [1.0, 0.0, 3.5], "c": [0.5, 1.5, 2.0]})
    assert all(test.p_holm <= 1 for test in near)
    ordered = sorted(near, key=lambda test: test.p)
    assert [test.p_holm for test in ordered] == sorted(test.p_holm for test in near)


def test_what_no_test_can_tell_is_left_open():
    (single,) = paired_tests({"one": [1.0], "other": [0.5]})
    assert (single.runs, single.difference, math.isnan(single.t), math.isnan(single.p)) == (1, 0.5, True, True)
    # Equal differences, but for rounding.
    tests = paired_tests({"a": [0.81, 0.82, 0.83], "b": [0.80, 0.81, 0.82], "c": [0.5, 0.9, 0.6]})
    assert [math.isnan(test.p_holm) for test in tests] == [True, False, False]
    assert tests[0].difference == pytest.approx(0.01)
    assert paired_tests({"alone": [1.0, 2.0]}) == []


def test_methods_of_other_runs_are_refused():
    with pytest.raises(ShapPruneError, match="different numbers: one 2, other 3"):
        paired_tests({"one": [1, 2], "other": [1, 2, 3]})


def test_holm_by_hand():
    assert holm([0.01, 0.02, 0.03, 0.04]) == pytest.approx([0.04, 0.06, 0.06, 0.06])
    assert holm([0.5, 0.4]) == pytest.approx([0.8, 0.8])
    assert holm([0.6, 0.7]) == pytest.approx([1, 1])
    assert holm([]) == []
