"""Tables as CSV files with a header, one observation a row."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from shapprune.files import whole

# What the jobs of a study write; docs/tables.md describes the columns.
TRAINING = ("epoch", "lr", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "seconds")
CURVES = ("net", "seed", "criterion", "aggregate", "trial", "layer", "units", "removed", "loss", "accuracy")
OVERLAPS = (
    *("net", "seed", "layer", "criterion", "aggregate", "trial"),
    *("size", "ties", "overlap_low", "overlap_high", "cumulative_overlap", "gap", "loss", "accuracy"),
)
ESTIMATORS = (
    *("net", "seed", "layer", "units", "truth", "estimator", "setting", "repetition", "evaluations", "seconds"),
    *("spearman", "kendall", "mse_ratio", "bottom25_overlap", "auc_loss", "gap"),
)
_CHAIN = ("net", "seed", "criterion", "aggregate", "ratio", "repair", "trial")
_STEP = ("step", "layer", "units_left", "loss", "accuracy", "parameters", "macs")
LOW_DATA = (*_CHAIN, *_STEP)
FINE_TUNE = (*_CHAIN, *_STEP, "images", "epochs")
UNTRAINED = ("net", "seed", "criterion", "aggregate", *_STEP)
COMPRESS = (
    *("net", "seed", "criterion", "aggregate", "target", "parameters", "macs", "loss_before", "accuracy_before"),
    *("epochs", "validation_loss", "validation_accuracy", "loss", "accuracy"),
)


def write_table(path: str | Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write rows as CSV, the header even when there are none. Numbers are written so that they read back equal.

    Raises:
        ValueError: a row has other columns.
    """
    with whole(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            if set(row) != set(columns):
                raise ValueError(f"columns {sorted(row)} of a row are not {sorted(columns)}")
            writer.writerow(row)
