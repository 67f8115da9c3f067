"""Small layers known completely: the value of every coalition, exact values of units, and the best sets to remove.

In larger layers good sets are searched for (`search_sets`).
"""

from shapprune.oracle.search import FoundSet, search_sets
from shapprune.oracle.sets import (
    Overlap,
    best_coalitions,
    greedy_order,
    left_by,
    oracle_rank,
    oracle_sets,
    overlap,
)
from shapprune.oracle.tables import Tables, coalition_table, coalition_tables, example_tables
from shapprune.oracle.values import banzhaf_values, leave_one_out_values, partial_values, shapley_values

__all__ = [
    "FoundSet",
    "Overlap",
    "Tables",
    "banzhaf_values",
    "best_coalitions",
    "coalition_table",
    "coalition_tables",
    "example_tables",
    "greedy_order",
    "leave_one_out_values",
    "left_by",
    "oracle_rank",
    "oracle_sets",
    "overlap",
    "partial_values",
    "search_sets",
    "shapley_values",
]
