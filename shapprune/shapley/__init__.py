"""Shapley values of units, one file an estimator; all return `UnitScores`."""

from shapprune.shapley.exact import exact
from shapprune.shapley.gradient import coalition_gradient, path_gradient
from shapprune.shapley.partial import partial
from shapprune.shapley.permutation import permutation
from shapprune.shapley.regression import regression
from shapprune.shapley.scores import UnitScores, merge
from shapprune.shapley.shrunk import shrunk

__all__ = [
    "UnitScores",
    "coalition_gradient",
    "exact",
    "merge",
    "partial",
    "path_gradient",
    "permutation",
    "regression",
    "shrunk",
]
