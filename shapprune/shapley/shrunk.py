"""Permutation values shrunk towards the path gradient, which suits small and large numbers of draws."""

from __future__ import annotations

from pathlib import Path

from shapprune.game.protocol import PayoffGame
from shapprune.shapley.criterion import criterion
from shapprune.shapley.gradient import path_gradient
from shapprune.shapley.permutation import permutation
from shapprune.shapley.scores import UnitScores


@criterion(
    "shrunk",
    limits={"permutations": {"minimum": 1}, "points": {"minimum": 1}},
    shapley=True,
    walks=True,
    gradient=True,
)
def shrunk(
    game: PayoffGame,
    permutations: int = 2,
    points: int = 8,
    antithetic: bool = True,
    seed: int = 0,
    checkpoint: Path | None = None,
) -> UnitScores:
    """Shapley value by permutations, shrunk towards the path gradient as far as their noise asks for.

    `permutation` is unbiased and noisy; `path_gradient` has a bias and no noise. Let d be their difference, averaged
    over the examples. The result is the gradient plus the weight max(0, 1 - mean(error^2) / mean(d^2)) times d, where
    the error is the sampling error of the permutation values. If the two agree within the noise it is the gradient;
    as the noise vanishes it becomes the permutation values.

    Args:
        game: the layer; its payoff must have a gradient.
        permutations: random orders for each example.
        points: points on the path.
        antithetic: make every other order the reverse of the one before.
        seed: of the orders; see `shapprune.score`.
        checkpoint: see `shapprune.score`; the gradient is computed again.

    Returns:
        UnitScores with values float [N, n]. The cost is that of both.

    Raises:
        ShapPruneError: fewer than one permutation or point, or a payoff without gradient.

    Source: James and Stein 1961, "Estimation with quadratic loss", with one weight for all units of a layer.

    Examples:
        >>> import torch, shapprune
        >>> network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
        >>> game = shapprune.LayerGame(network, "0", torch.rand(5, 3), torch.tensor([0, 1, 0, 1, 1]))
        >>> shapprune.shapley.shrunk(game, permutations=2, points=3).evaluations
        17.0
    """
    prior = path_gradient(game, points)
    sampled = permutation(game, permutations, antithetic=antithetic, seed=seed, checkpoint=checkpoint)
    apart = sampled.values - prior.values
    # The spread over the examples is known even for a single order. It contains the examples' own differences from the
    # gradient beside the noise of the draws, so the weight is a little too small.
    noise = float(apart.var(0, correction=1).mean()) / len(game) if len(game) > 1 else float("inf")
    signal = float(apart.mean(0).square().mean())
    weight = max(0.0, 1 - noise / signal) if signal > 0 else 0.0
    assert sampled.draws is not None
    return UnitScores(
        prior.values + weight * apart,
        "shrunk",
        prior.evaluations + sampled.evaluations,
        prior.seconds + sampled.seconds,
        prior.values + weight * (sampled.draws - prior.values),
    )
