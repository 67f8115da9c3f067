"""Figures of a study, each drawn from one of its tables. Nothing else in the package knows matplotlib.

A figure is of one network. Its seeds and trials are runs, drawn as their mean with one standard deviation.
"""

from shapprune.workflow.figures.compress import compress_sizes
from shapprune.workflow.figures.estimators import estimators_cost, estimators_pruning
from shapprune.workflow.figures.fine_tune import fine_tune_amounts
from shapprune.workflow.figures.layout import read, save
from shapprune.workflow.figures.low_data import low_data_curves, low_data_final
from shapprune.workflow.figures.oracle import oracle_accuracy, oracle_overlap
from shapprune.workflow.figures.removal import auc_bars, auc_layers, removal_curves
from shapprune.workflow.figures.scores import score_strips
from shapprune.workflow.figures.styles import Style, Styles, criterion_styles
from shapprune.workflow.figures.training import training_curves
from shapprune.workflow.figures.untrained import untrained_steps

__all__ = [
    "Style",
    "Styles",
    "auc_bars",
    "auc_layers",
    "compress_sizes",
    "criterion_styles",
    "estimators_cost",
    "estimators_pruning",
    "fine_tune_amounts",
    "low_data_curves",
    "low_data_final",
    "oracle_accuracy",
    "oracle_overlap",
    "read",
    "removal_curves",
    "save",
    "score_strips",
    "training_curves",
    "untrained_steps",
]
