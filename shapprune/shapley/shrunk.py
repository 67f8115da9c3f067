"""Permutation values shrunk towards the path gradient: the best of both for any budget."""

from __future__ import annotations

from pathlib import Path

from shapprune.game.protocol import PayoffGame
from shapprune.shapley.gradient import path_gradient
from shapprune.shapley.permutation import permutation
from shapprune.shapley.scores import UnitScores


def shrunk(
    game: PayoffGame,
    permutations: int = 2,
    points: int = 8,
    antithetic: bool = True,
    seed: int = 0,
    checkpoint: Path | None = None,
) -> UnitScores:
    """Shapley values between the noisy, unbiased `permutation` and the quiet, biased `path_gradient`.

    With d the difference of the two, averaged over the examples, the permutation values are trusted by the share of
    mean(d^2) that their own sampling error does not explain, 1 - mean(error^2) / mean(d^2), at least 0: where they
    agree within the noise the gradient is returned, where the gradient is biased its weight vanishes with the noise.

    Args:
        game: the layer; its payoff must have a gradient.
        permutations: orders for each example, each example its own.
        points: points of the gradient's path.
        antithetic: every other order is the reverse of the one before it.
        seed: of the orders.
        checkpoint: a file that is written now and then; a scoring that was cut off goes on from it, after its last
            finished batch of orders (the gradient is computed again), and comes out the same. It is left there for
            the caller to delete.

    Returns:
        UnitScores with values float [N, n]. It costs what the two cost together.

    Raises:
        ShapPruneError: fewer than one permutation or point, or a payoff without gradient.

    Source: James and Stein 1961, one weight for all units of a layer.
    """
    prior = path_gradient(game, points)
    sampled = permutation(game, permutations, antithetic=antithetic, seed=seed, checkpoint=checkpoint)
    apart = sampled.values - prior.values
    # The spread over the examples is at hand even for a single order; it holds the draws and the examples' own
    # differences from the prior, so the permutation values are trusted a little less than they might be.
    noise = float(apart.var(0, correction=1).mean()) / len(game) if len(game) > 1 else float("inf")
    signal = float(apart.mean(0).square().mean())
    trust = max(0.0, 1 - noise / signal) if signal > 0 else 0.0
    assert sampled.draws is not None
    return UnitScores(
        prior.values + trust * apart,
        "shrunk",
        prior.evaluations + sampled.evaluations,
        prior.seconds + sampled.seconds,
        prior.values + trust * (sampled.draws - prior.values),
    )
