"""shapprune: which units of a network matter, by Shapley values, and smaller networks without the others.

The names below are loaded when first used, so that the parts that plan a workflow never import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shapprune import gpu, oracle, shapley
    from shapprune.choice import choose_for_loss, choose_for_size, choose_units
    from shapprune.criteria import score
    from shapprune.curves import RemovalCurve, auc, removal_curve
    from shapprune.errors import ShapPruneError
    from shapprune.export import export_onnx
    from shapprune.game import LayerGame
    from shapprune.latency import Latency, measure_latency
    from shapprune.networks.storage import load, save
    from shapprune.removal import remove_units
    from shapprune.shapley.scores import UnitScores
    from shapprune.units import PrunableLayer, prunable_layers

__version__ = "0.1.0"

_HOMES = {
    "Latency": "shapprune.latency",
    "LayerGame": "shapprune.game",
    "PrunableLayer": "shapprune.units",
    "RemovalCurve": "shapprune.curves",
    "ShapPruneError": "shapprune.errors",
    "UnitScores": "shapprune.shapley.scores",
    "auc": "shapprune.curves",
    "choose_for_loss": "shapprune.choice",
    "choose_for_size": "shapprune.choice",
    "choose_units": "shapprune.choice",
    "export_onnx": "shapprune.export",
    "load": "shapprune.networks.storage",
    "measure_latency": "shapprune.latency",
    "prunable_layers": "shapprune.units",
    "removal_curve": "shapprune.curves",
    "remove_units": "shapprune.removal",
    "save": "shapprune.networks.storage",
    "score": "shapprune.criteria",
}
_MODULES = ("gpu", "oracle", "shapley")

__all__ = [
    "Latency",
    "LayerGame",
    "PrunableLayer",
    "RemovalCurve",
    "ShapPruneError",
    "UnitScores",
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
