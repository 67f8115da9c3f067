"""Shapley values by removing the units in random orders."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from shapprune.errors import ShapPruneError
from shapprune.game import LayerGame
from shapprune.progress import track
from shapprune.shapley.draws import draw_orders
from shapprune.shapley.scores import scorer


@scorer("permutation")
def permutation(
    game: LayerGame,
    permutations: int = 5,
    shared: bool = False,
    antithetic: bool = False,
    seed: int = 0,
    orders: np.ndarray | Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Monte-Carlo Shapley values: what each unit's removal costs, averaged over random removal orders.

    Args:
        game: the layer.
        permutations: orders for each example, K.
        shared: all examples walk the same orders, as in TorchPruner. By default each example has its own: the same
            work, and the errors of the examples average out instead of adding up.
        antithetic: every other order is the reverse of the one before it.
        seed: of the orders; the order of an example in a draw depends on seed, layer, example and draw only.
        orders: removal orders to walk instead of random ones, int [K, n], shared by all examples; first leaves first.

    Returns:
        UnitScores with values float [N, n]; for each example they sum to v(all) - v(none) exactly, for any K.
        It costs K (n - 1) evaluations, and two for both ends.

    Raises:
        ShapPruneError: fewer than one permutation, or ``orders`` that are none.

    Source: Castro et al. 2009; section 3.1 of Ancona et al. 2020, whose code walks K = 5 shared orders.
    """
    given = None if orders is None else _check_orders(np.asarray(orders), game.units)
    draws = len(given) if given is not None else permutations
    if draws < 1:
        raise ShapPruneError(f"permutations = {permutations}, at least 1 is needed")
    device = game.images.device
    total = torch.zeros(len(game), game.units, dtype=torch.float64, device=device)
    means = []
    previous = np.empty(0)
    for draw in track(range(draws), f"permutations of {game.layer}"):
        if given is not None:
            order = np.tile(given[draw], (len(game), 1))
        elif antithetic and draw % 2:
            order = previous[:, ::-1].copy()
        else:
            order = draw_orders(game, draw // 2 if antithetic else draw, seed, shared)
        previous = order
        ranks = torch.from_numpy(np.argsort(order, axis=1)).to(device)
        values = game.walk(ranks).double().T  # [N, n + 1]
        marginals = values.gather(1, ranks) - values.gather(1, ranks + 1)
        total += marginals
        means.append(marginals.mean(0))
    result = torch.stack(means)
    if antithetic and given is None:  # the two orders of a pair are not independent: a pair is one draw
        pairs = result[: draws // 2 * 2].reshape(-1, 2, game.units).mean(1)
        result = torch.cat([pairs, result[draws // 2 * 2 :]])
    return total / draws, result


def _check_orders(orders: np.ndarray, units: int) -> np.ndarray:
    if orders.ndim != 2 or not np.array_equal(np.sort(orders, axis=1), np.tile(np.arange(units), (len(orders), 1))):
        raise ShapPruneError(
            f"orders of shape {orders.shape} are no removal orders of {units} units, int [K, {units}] is needed"
        )
    return orders
