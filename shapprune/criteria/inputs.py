"""Criteria that look at the layers that read units too: those of language models, in structured form."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from shapprune.criteria.elimination import Reading
from shapprune.criteria.rankings import weights_times_gradients
from shapprune.criteria.reconstruction import readings_of
from shapprune.game.layer_game import LayerGame
from shapprune.parameters.units import pool_units
from shapprune.shapley.criterion import criterion


@criterion("fluctuation")
def fluctuation(game: LayerGame) -> Tensor:
    """Variance of what a reader gets from the unit, times the squared norm of its weights for it (An et al. 2024).

    Of a unit with several numbers, as a head has, it is the sum over them. What stays the same could be made up for by
    a bias. Labels are not looked at. Values are [1, n].

    Args:
        game: the layer.

    Raises:
        ShapPruneError: the units are read by a layer whose inputs are no rows.

    Source: An et al. 2024, "Fluctuation-based adaptive structured pruning for large language models" (FLAP), WIFV.
    """
    return fluctuations(readings_of(game, centred=True))[None]


def fluctuations(readings: Iterable[Reading]) -> Tensor:
    """The values of `fluctuation`, [n].

    Args:
        readings: of the layers that read the units, centred.
    """
    return _summed(spread * weights.square().sum(1) for spread, weights in map(_seen, readings))


@criterion("wanda")
def wanda(game: LayerGame) -> Tensor:
    """Norm of what a reader gets from the unit, times its absolute weights for it, summed (Sun et al. 2024).

    The original removes single weights; here the scores of all weights of a reader for the unit are added up. Labels
    are not looked at. Values are [1, n].

    Args:
        game: the layer.

    Raises:
        ShapPruneError: the units are read by a layer whose inputs are no rows.

    Source: Sun et al. 2024, "A simple and effective pruning approach for large language models"; in structured form An
    et al. 2024 (Wanda-sp).
    """
    return wanda_norms(readings_of(game, centred=False))[None]


def wanda_norms(readings: Iterable[Reading]) -> Tensor:
    """The values of `wanda`, [n].

    Args:
        readings: of the layers that read the units, not centred.
    """
    return _summed(spread.sqrt() * weights.abs().sum(1) for spread, weights in map(_seen, readings))


@criterion("weight-taylor", limits={"order": {"minimum": 1, "maximum": 2}}, gradient=True)
def weight_taylor(game: LayerGame, order: int = 1) -> Tensor:
    """Absolute value of weight times gradient, summed over all weights that leave with the unit (Ma et al. 2023).

    They are those that make the unit, those of layers whose units leave with it, and those by which other layers read
    it. The gradient is that of the mean payoff of the scoring images. Values are [1, n]. The cost is 3 evaluations, of
    the whole network.

    Args:
        game: the layer.
        order: 2 also counts the second order, with the Fisher information of the scoring images instead of the Hessian.

    Raises:
        ShapPruneError: the payoff has no gradient, weights are computed from others, a convolution of several groups
            that is not depthwise reads the units, or what depends on them cannot be followed.

    Source: Ma et al. 2023, "LLM-Pruner: on the structural pruning of large language models", element-wise importance,
    equation 5, or its first order, summed over the group.
    """
    pooling = pool_units(game.model, game.layer, game.images, biases=False, dependencies=game.dependencies)
    return pooling(weights_times_gradients(game, pooling.names, order))[None]


def _seen(reading: Reading) -> tuple[Tensor, Tensor]:
    """Of a layer that reads units: the sum of squares of its inputs, [n, k], and its weights, [n, outputs, k]."""
    squares = reading.rows.diagonal() if reading.is_gram else reading.rows.square().sum(0)
    return squares[reading.places], reading.weights[reading.places].mT


def _summed(scores: Iterable[Tensor]) -> Tensor:
    """Scores of the numbers of each unit, [n, k] for each reader, added up: [n]."""
    return torch.stack([each.sum(1) for each in scores]).sum(0)
