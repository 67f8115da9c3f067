"""The stages of a study, each after those that it consumes."""

from __future__ import annotations

from shapprune.workflow.stages.budgets import ExportBudgets, FitBudgets, RetrainBudgets
from shapprune.workflow.stages.coalitions import SearchOracle, TabulateCoalitions
from shapprune.workflow.stages.compress import CompressNetwork
from shapprune.workflow.stages.curves import MeasureCurves
from shapprune.workflow.stages.deactivation import DeactivateUnits
from shapprune.workflow.stages.estimators import StudyEstimators
from shapprune.workflow.stages.fine_tune import FineTunePruned
from shapprune.workflow.stages.low_data import EvaluatePruned, PruneByWalks, PruneLayers, Steps
from shapprune.workflow.stages.probe import ProbeUnits
from shapprune.workflow.stages.quantisation import QuantiseNetwork
from shapprune.workflow.stages.scores import ScoreLayer, ScoreLayers
from shapprune.workflow.stages.selective import TuneUnits
from shapprune.workflow.stages.stage import Stage, Table
from shapprune.workflow.stages.train import TrainNetwork
from shapprune.workflow.stages.untrained import PruneUntrained

STAGES: tuple[type[Stage], ...] = (
    TrainNetwork,
    ScoreLayers,
    ScoreLayer,
    MeasureCurves,
    TabulateCoalitions,
    SearchOracle,
    StudyEstimators,
    Steps,
    PruneLayers,
    PruneByWalks,
    EvaluatePruned,
    FineTunePruned,
    PruneUntrained,
    CompressNetwork,
    FitBudgets,
    RetrainBudgets,
    ExportBudgets,
    DeactivateUnits,
    QuantiseNetwork,
    TuneUnits,
    ProbeUnits,
)

# The sections of the configuration that fit the networks and criteria of one study.
OPTIONAL = tuple(dict.fromkeys(stage.section for stage in STAGES if stage.optional))

TABLES: dict[str, Table] = {table.name: table for stage in STAGES for table in stage.tables}
