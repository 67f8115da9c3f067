"""The columns of what the jobs of a study write; docs/tables.md describes them."""

from __future__ import annotations

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
