"""What a study compares with the truth about its layers: names, and the sizes of estimators; known without torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# What stands beside the criteria in comparisons with the oracle sets: it follows from the coalition table alone.
OF_THE_TABLE = ("oracle sets", "oracle rank", "greedy removal", "exact Shapley")
TRUTH = "truth"  # the label of the task that estimators are compared with
CONVERGED = "permutation"  # the method of the truth where it is not exact
ENTRY_KEYS = ("method", "over")  # of an estimator in a configuration; the others are options of its method


@dataclass(frozen=True)
class Variant:
    """An estimator of one size.

    Attributes:
        estimator: its name in the configuration.
        setting: its size in words, e.g. ``permutations=5``; empty where it comes in one size only.
        entry: method and options, as an entry of ``criteria`` has them.
    """

    estimator: str
    setting: str
    entry: Mapping[str, Any]


def variants(name: str, entry: Mapping[str, Any]) -> Iterator[Variant]:
    """An entry of the configuration's ``estimators.compared`` in all its sizes."""
    fixed = {key: value for key, value in entry.items() if key != "over"}
    over = [(option, value) for option, values in entry.get("over", {}).items() for value in values]
    for option, value in over:
        yield Variant(name, f"{option}={value}", {**fixed, option: value})
    if not over:
        yield Variant(name, "", fixed)
