"""Criteria of single parameters, summed over all that leave with a unit: Model Shapley and what it is compared with."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from shapprune.criteria.rankings import mean_gradients, weights_times_gradients
from shapprune.game.layer_game import LayerGame
from shapprune.parameters.expansion import Expansion
from shapprune.parameters.scores import ParameterScores, score_parameters
from shapprune.parameters.units import Scope, pool_units
from shapprune.shapley.criterion import criterion


@criterion("model-shapley", limits={"alpha": {"minimum": 0, "below": 1}, "batch": {"minimum": 1}}, gradient=True)
def model_shapley(
    game: LayerGame,
    sign: Literal["corrected", "paper"] = "corrected",
    order: Literal["both", "first", "second"] = "both",
    hessian: Literal["exact", "fisher", "batch", "shipped"] = "exact",
    block: Literal["whole", "layer", "matrix", "head", "row", "parameter"] = "whole",
    absolute: Literal["none", "batch", "sum"] = "none",
    pool: Literal["sum", "mean"] = "sum",
    scope: Literal["all", "rows"] = "all",
    alpha: float = 0.0,
    batch: int = 32,
) -> Tensor:
    """Shapley value of the unit's parameters, all parameters being players of a quadratic loss (Chu et al. 2025).

    It is -g theta + theta (H theta) / 2 of gradient g and Hessian H of minus the mean payoff, exact where that is
    quadratic; the paper has a minus before the second term. Values are [1, n]. The cost is 3 evaluations, of the whole
    network, and with an exact Hessian 6 more a block.

    Args:
        game: the layer.
        sign: of the second term; that of the paper is wrong for a trained network.
        order: the terms that count.
        hessian: Hessian-vector products, Fisher information of examples or of batches, or what the paper's code has.
        block: the parameters between which second derivatives count, among those of the unit's layer and its readers.
        absolute: whether absolute values of units are taken, in each batch or of the sum over all.
        pool: how numbers of a unit's parameters become one.
        scope: all parameters that leave with the unit, or those that make it.
        alpha: weight of a batch in an exponentially weighted mean; 0 is the plain mean over all images.
        batch: images in a batch.

    Raises:
        ShapPruneError: the payoff has no gradient, options that do not fit together, or what depends on the units
            cannot be followed.

    Source: Eq. 7 and Algorithm 2 of Chu et al. 2025, "Model Shapley".
    """
    expansion = Expansion(
        "none" if order == "first" else hessian, block, sign, absolute, alpha=alpha or None, batch=batch
    )
    found = _expanded(game, expansion, scope, pool)
    terms = {"both": found.both, "first": found.first, "second": found.second}[order]
    return terms["units"][None]


@criterion("gradient", gradient=True)
def gradient(game: LayerGame, scope: Literal["all", "rows"] = "all") -> Tensor:
    """Absolute gradient of the mean payoff, summed over the unit's parameters (baseline of Chu et al. 2025).

    Values are [1, n]. The cost is 3 evaluations, of the whole network.

    Args:
        game: the layer.
        scope: all parameters that leave with the unit, or those that make it.

    Raises:
        ShapPruneError: the payoff has no gradient, or what depends on the units cannot be followed.

    Source: the baselines of Chu et al. 2025, "Model Shapley".
    """
    pooling = pool_units(game.model, game.layer, game.images, scope=scope, dependencies=game.dependencies)
    return pooling({name: each.abs() for name, each in mean_gradients(game, pooling.names).items()})[None]


@criterion("gradient-trace", gradient=True)
def gradient_trace(game: LayerGame, scope: Literal["all", "rows"] = "all") -> Tensor:
    """Absolute value of parameter times gradient, summed over the unit's parameters (baseline of Chu et al. 2025).

    Biases and norms count, unlike in ``snip`` and ``weight-taylor``. Values are [1, n]. The cost is 3 evaluations, of
    the whole network.

    Args:
        game: the layer.
        scope: all parameters that leave with the unit, or those that make it.

    Raises:
        ShapPruneError: the payoff has no gradient, or what depends on the units cannot be followed.

    Source: the baselines of Chu et al. 2025, "Model Shapley".
    """
    pooling = pool_units(game.model, game.layer, game.images, scope=scope, dependencies=game.dependencies)
    return pooling(weights_times_gradients(game, pooling.names))[None]


@criterion("obd", gradient=True)
def obd(game: LayerGame, scope: Literal["all", "rows"] = "all") -> Tensor:
    """Half the Fisher information times the square of a parameter, summed over the unit's (LeCun et al. 1990).

    The original has the diagonal of the Hessian; here it is the mean square of the gradients of single images. Values
    are [1, n]. The cost is 3 evaluations, of the whole network, image by image.

    Args:
        game: the layer.
        scope: all parameters that leave with the unit, or those that make it.

    Raises:
        ShapPruneError: the payoff has no gradient, or what depends on the units cannot be followed.

    Source: LeCun, Denker and Solla 1990, "Optimal brain damage".
    """
    return _expanded(game, Expansion("fisher", "parameter"), scope, "sum").second["units"][None]


def _expanded(game: LayerGame, expansion: Expansion, scope: Scope, pool: str) -> ParameterScores:
    """Scores of the units of a game, whose cost is counted."""
    game.require_gradient()
    pooling = pool_units(game.model, game.layer, game.images, scope=scope, how=pool, dependencies=game.dependencies)
    found = score_parameters(game.model, game.images, game.labels, expansion, payoff=game.payoff, pooling=pooling)
    game.count(found.evaluations)
    return found
