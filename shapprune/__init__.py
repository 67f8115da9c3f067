"""shapprune: which units of a network matter, by Shapley values, and smaller networks without the others.

The names below are loaded when first used, so that the parts that plan a workflow never import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from shapprune.core.version import __version__

if TYPE_CHECKING:
    from shapprune import gpu, oracle, shapley
    from shapprune.core.errors import ShapPruneError
    from shapprune.criteria.scoring import score
    from shapprune.game.layer_game import LayerGame
    from shapprune.graph.prunable import PrunableLayer, prunable_layers
    from shapprune.networks.export import export_onnx
    from shapprune.networks.latency import Latency, measure_latency
    from shapprune.networks.storage import load, save
    from shapprune.pruning.choice import choose_for_loss, choose_for_size, choose_units
    from shapprune.pruning.curves import RemovalCurve, auc, removal_curve
    from shapprune.pruning.removal import remove_units
    from shapprune.shapley.scores import UnitScores

_HOMES = {
    "Latency": "shapprune.networks.latency",
    "LayerGame": "shapprune.game.layer_game",
    "PrunableLayer": "shapprune.graph.prunable",
    "RemovalCurve": "shapprune.pruning.curves",
    "ShapPruneError": "shapprune.core.errors",
    "UnitScores": "shapprune.shapley.scores",
    "auc": "shapprune.pruning.curves",
    "choose_for_loss": "shapprune.pruning.choice",
    "choose_for_size": "shapprune.pruning.choice",
    "choose_units": "shapprune.pruning.choice",
    "export_onnx": "shapprune.networks.export",
    "load": "shapprune.networks.storage",
    "measure_latency": "shapprune.networks.latency",
    "prunable_layers": "shapprune.graph.prunable",
    "removal_curve": "shapprune.pruning.curves",
    "remove_units": "shapprune.pruning.removal",
    "save": "shapprune.networks.storage",
    "score": "shapprune.criteria.scoring",
}
_MODULES = ("gpu", "oracle", "shapley")

__all__ = [
    "Latency",
    "LayerGame",
    "PrunableLayer",
    "RemovalCurve",
    "ShapPruneError",
    "UnitScores",
    "__version__",
    "auc",
    "choose_for_loss",
    "choose_for_size",
    "choose_units",
    "export_onnx",
    "gpu",
    "load",
    "measure_latency",
    "oracle",
    "prunable_layers",
    "removal_curve",
    "remove_units",
    "save",
    "score",
    "shapley",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"shapprune.{name}")
    raise AttributeError(f"module 'shapprune' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
