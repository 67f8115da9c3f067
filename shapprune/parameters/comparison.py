"""Paired t-tests of methods that were measured in the same runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from scipy import stats

from shapprune.core.errors import ShapPruneError

_EQUAL = 1e-12  # of the largest value; differences that differ by less do so by rounding


@dataclass(frozen=True)
class PairedTest:
    """Whether two methods differ, by a two-sided t-test of their differences in the same runs.

    Attributes:
        one: the first method.
        other: the second method.
        runs: how many runs both have.
        difference: mean of the first minus the second.
        t: the statistic; nan where it is not defined: with a single run, or where all differences are equal.
        p: the probability of a t so far from 0 if both were equally good; nan as well.
        p_holm: the same for all tests together, by the method of Holm; nan as well.
    """

    one: str
    other: str
    runs: int
    difference: float
    t: float
    p: float
    p_holm: float = math.nan


def paired_tests(values: Mapping[str, Sequence[float]]) -> list[PairedTest]:
    """Compare all pairs of methods.

    Args:
        values: method -> what was measured of it in each run; the runs (seeds, trials) are the same ones in the same
            order for all.

    Raises:
        ShapPruneError: methods with different numbers of runs.

    Examples:
        >>> from shapprune.parameters.comparison import paired_tests
        >>> (test,) = paired_tests({"selected": [0.80, 0.82, 0.84], "random": [0.78, 0.79, 0.80]})
        >>> round(test.difference, 3), round(test.t, 3), round(test.p, 3)
        (0.03, 5.196, 0.035)

    Source: Student 1908, "The probable error of a mean"; Holm 1979, "A simple sequentially rejective multiple test
    procedure".
    """
    lengths = {name: len(each) for name, each in values.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {count}" for name, count in lengths.items())
        raise ShapPruneError(f"methods are compared in the same runs, but they have different numbers: {told}")
    tests = [_test(one, other, values[one], values[other]) for one, other in combinations(values, 2)]
    known = [test for test in tests if not math.isnan(test.p)]
    raised = {id(test): p for test, p in zip(known, holm([test.p for test in known]), strict=True)}
    return [replace(test, p_holm=raised.get(id(test), math.nan)) for test in tests]


def holm(values: Sequence[float]) -> list[float]:
    """The p-values of several tests, raised so that one of them is below a level by chance as often as one test's.

    Examples:
        >>> from shapprune.parameters.comparison import holm
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    raised, largest = [1.0] * len(values), 0.0
    for place, which in enumerate(sorted(range(len(values)), key=lambda which: values[which])):
        largest = max(largest, min(1.0, (len(values) - place) * values[which]))
        raised[which] = largest
    return raised


def _test(one: str, other: str, first: Sequence[float], second: Sequence[float]) -> PairedTest:
    differences = [float(a) - float(b) for a, b in zip(first, second, strict=True)]
    mean = math.fsum(differences) / len(differences) if differences else math.nan
    largest = max((abs(each) for each in (*first, *second)), default=0.0)
    if len(differences) < 2 or max(differences) - min(differences) <= _EQUAL * largest:
        return PairedTest(one, other, len(differences), mean, math.nan, math.nan)
    found = stats.ttest_1samp(differences, 0.0)
    return PairedTest(one, other, len(differences), mean, float(found.statistic), float(found.pvalue))
