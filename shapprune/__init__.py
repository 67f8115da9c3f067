"""shapprune: which units of a network matter, by Shapley values, and smaller networks without the others.

The names below are loaded when first used, so that the parts that plan a workflow never import torch.

Examples:
    A network, and a few images with labels:

    >>> import torch
    >>> from torch import nn
    >>> import shapprune
    >>> _ = torch.manual_seed(0)
    >>> convolution, output = nn.Conv2d(1, 6, 3), nn.Linear(6 * 36, 4)
    >>> model = nn.Sequential(convolution, nn.ReLU(), nn.Flatten(), output)
    >>> images, labels = torch.randn(20, 1, 8, 8), torch.randint(4, (20,))

    The layers whose units can be removed, and the game of one of them:

    >>> layers = shapprune.prunable_layers(model, images)
    >>> [(layer.name, layer.units) for layer in layers]
    [('0', 6)]
    >>> game = shapprune.LayerGame(model, "0", images, labels)
    >>> coalitions = torch.tensor([[True] * 6, [False] * 6])
    >>> everything, nothing = game.value(coalitions)  # minus the loss of each image

    Shapley values share out what all units together are worth, for each image:

    >>> scores = shapprune.shapley.exact(game)
    >>> scores.values.shape
    torch.Size([20, 6])
    >>> shared = scores.values.sum(1)
    >>> torch.allclose(shared, (everything - nothing).double(), atol=1e-4)
    True

    The units with the lowest scores leave first; a smaller network is left:

    >>> order = scores.order("mean+2std")
    >>> curve = shapprune.removal_curve(game, order)
    >>> len(curve.loss)  # with none to all of the units gone
    7
    >>> small = shapprune.remove_units(model, {"0": order[:2].tolist()}, images)
    >>> small[0]
    Conv2d(1, 4, kernel_size=(3, 3), stride=(1, 1))
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from shapprune.core.version import __version__

if TYPE_CHECKING:
    from shapprune import gpu, oracle, shapley
    from shapprune.core.errors import ShapPruneError
    from shapprune.criteria.scoring import score
    from shapprune.game.branch_game import BranchGame
    from shapprune.game.layer_game import LayerGame
    from shapprune.graph.prunable import PrunableLayer, prunable_layers
    from shapprune.networks.export import export_onnx
    from shapprune.networks.latency import Latency, measure_latency
    from shapprune.networks.storage import load, save
    from shapprune.parameters.deactivation import deactivate
    from shapprune.parameters.expansion import Expansion
    from shapprune.parameters.pooling import pool_rows
    from shapprune.parameters.quantisation import QuantisedNetwork, Scheme, quantise
    from shapprune.parameters.quantised_files import load_quantised, save_quantised
    from shapprune.parameters.scores import ParameterScores, score_parameters
    from shapprune.parameters.units import pool_units
    from shapprune.pruning.branches import PrunableBranch, prunable_branches, remove_branches
    from shapprune.pruning.choice import choose_for_loss, choose_for_size, choose_units
    from shapprune.pruning.curves import RemovalCurve, auc, removal_curve
    from shapprune.pruning.removal import remove_units
    from shapprune.pruning.shrink import Pruned, prune, tradeoff
    from shapprune.shapley.scores import UnitScores

_HOMES = {
    "BranchGame": "shapprune.game.branch_game",
    "Expansion": "shapprune.parameters.expansion",
    "Latency": "shapprune.networks.latency",
    "LayerGame": "shapprune.game.layer_game",
    "ParameterScores": "shapprune.parameters.scores",
    "PrunableBranch": "shapprune.pruning.branches",
    "PrunableLayer": "shapprune.graph.prunable",
    "Pruned": "shapprune.pruning.shrink",
    "QuantisedNetwork": "shapprune.parameters.quantisation",
    "RemovalCurve": "shapprune.pruning.curves",
    "Scheme": "shapprune.parameters.quantisation",
    "ShapPruneError": "shapprune.core.errors",
    "UnitScores": "shapprune.shapley.scores",
    "auc": "shapprune.pruning.curves",
    "choose_for_loss": "shapprune.pruning.choice",
    "choose_for_size": "shapprune.pruning.choice",
    "choose_units": "shapprune.pruning.choice",
    "deactivate": "shapprune.parameters.deactivation",
    "export_onnx": "shapprune.networks.export",
    "load": "shapprune.networks.storage",
    "load_quantised": "shapprune.parameters.quantised_files",
    "measure_latency": "shapprune.networks.latency",
    "pool_rows": "shapprune.parameters.pooling",
    "pool_units": "shapprune.parameters.units",
    "prunable_branches": "shapprune.pruning.branches",
    "prunable_layers": "shapprune.graph.prunable",
    "prune": "shapprune.pruning.shrink",
    "quantise": "shapprune.parameters.quantisation",
    "removal_curve": "shapprune.pruning.curves",
    "remove_branches": "shapprune.pruning.branches",
    "remove_units": "shapprune.pruning.removal",
    "save": "shapprune.networks.storage",
    "save_quantised": "shapprune.parameters.quantised_files",
    "score": "shapprune.criteria.scoring",
    "score_parameters": "shapprune.parameters.scores",
    "tradeoff": "shapprune.pruning.shrink",
}
_MODULES = ("gpu", "oracle", "shapley")

__all__ = [
    "BranchGame",
    "Expansion",
    "Latency",
    "LayerGame",
    "ParameterScores",
    "PrunableBranch",
    "PrunableLayer",
    "Pruned",
    "QuantisedNetwork",
    "RemovalCurve",
    "Scheme",
    "ShapPruneError",
    "UnitScores",
    "__version__",
    "auc",
    "choose_for_loss",
    "choose_for_size",
    "choose_units",
    "deactivate",
    "export_onnx",
    "gpu",
    "load",
    "load_quantised",
    "measure_latency",
    "oracle",
    "pool_rows",
    "pool_units",
    "prunable_branches",
    "prunable_layers",
    "prune",
    "quantise",
    "removal_curve",
    "remove_branches",
    "remove_units",
    "save",
    "save_quantised",
    "score",
    "score_parameters",
    "shapley",
    "tradeoff",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"shapprune.{name}")
    raise AttributeError(f"module 'shapprune' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
