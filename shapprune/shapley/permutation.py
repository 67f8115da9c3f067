"""Shapley values by removing the units in random orders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from shapprune.core.errors import ShapPruneError
from shapprune.core.progress import track
from shapprune.game.protocol import Game
from shapprune.shapley.draws import Draws, draw_orders
from shapprune.shapley.scores import Estimate, UnitScores, scorer
from shapprune.shapley.unfinished import Unfinished

_TOGETHER = 8  # draws that share what is computed once for each example
_BETWEEN_TESTS = 4  # draws between two tests of whether all is decided


@scorer("permutation")
def permutation(
    game: Game,
    permutations: int = 5,
    shared: bool = False,
    antithetic: bool = False,
    depth: float = 1.0,
    settle: Sequence[float] = (),
    settle_by: str = "mean",
    seed: int = 0,
    orders: np.ndarray | Tensor | None = None,
    checkpoint: Path | None = None,
) -> Estimate:
    """Monte-Carlo Shapley values: what each unit's removal costs, averaged over random removal orders.

    Args:
        game: the layer.
        permutations: orders for each example, K.
        shared: all examples walk the same orders, as in TorchPruner. By default each example has its own: the same
            work, and the errors of the examples average out instead of adding up.
        antithetic: every other order is the reverse of the one before it.
        depth: share of each order that is walked. Those that would leave later get equal parts of what is left to
            lose: less work and a bias, for whom only the first removals concern.
        settle: ratios; draws stop, before all permutations are walked, when no unit is `undecided` at any of them. It
            is tested after every few draws, which makes a wrong "decided" likelier than the 5 % of a single test.
        settle_by: the aggregate that the units are ordered by there.
        seed: of the orders; the order of an example in a draw depends on seed, layer, example and draw only.
        orders: removal orders to walk instead of random ones, int [K, n], shared by all examples; first leaves first.
        checkpoint: a file that is written now and then; a scoring that was cut off goes on from it, after its last
            finished batch of orders, and comes out the same. It is left there for the caller to delete.

    Returns:
        UnitScores with values float [N, n]; for each example they sum to v(all) - v(none) exactly, for any K.
        It costs K (n - 1) evaluations (K n depth with less depth), and two for both ends. Where ``settle`` was asked
        for, ``settled`` says whether the draws were enough.

    Raises:
        ShapPruneError: fewer than one permutation, ``orders`` that are none, or a depth outside (0, 1].

    Source: Castro et al. 2009; section 3.1 of Ancona et al. 2020, whose code walks K = 5 shared orders.
    """
    given = None if orders is None else _check_orders(np.asarray(orders), game.units)
    draws = len(given) if given is not None else permutations
    if draws < 1:
        raise ShapPruneError(f"permutations = {permutations}, at least 1 is needed")
    if not 0 < depth <= 1:
        raise ShapPruneError(f"depth {depth} is not above 0 and at most 1")
    _ = game.full, game.empty  # valued here, whether all orders are walked now or some were walked before
    unfinished = Unfinished(
        checkpoint, game, "permutation", draws, shared, antithetic, depth, list(settle), settle_by, seed, given
    )
    kept = Draws(draws, unfinished, together=2 if antithetic and given is None else 1)

    def all_decided() -> bool:
        values, groups = kept.result()
        so_far = UnitScores(values, "permutation", 0, 0, groups)
        return not any(so_far.undecided(ratio, settle_by).any() for ratio in settle)

    together = _BETWEEN_TESTS if settle else game.at_once(_TOGETHER)
    for first in track(range(kept.seen, draws, together), f"permutations of {game.layer}"):
        if settle and kept.seen and all_decided():
            break
        some = range(first, min(first + together, draws))
        if given is not None:
            walked = np.tile(given[some.start : some.stop, None], (1, len(game), 1))
        else:
            walked = np.stack([_draw(game, draw, seed, shared, antithetic) for draw in some])
        kept.add(_marginals(game, torch.from_numpy(walked).to(game.device), max(1, round(depth * game.units))))
    return Estimate(*kept.result(), all_decided() if settle else None, unfinished)


def _marginals(game: Game, order: Tensor, depth: int) -> Tensor:
    """What each removal costs along orders [K, N, n], by unit: float64 [K, N, n]."""
    values = game.walk(order, depth).double().transpose(1, 2)  # [K, N, depth + 1]
    steps = values[..., :-1] - values[..., 1:]
    if (rest := game.units - depth) > 0:
        left = (values[..., -1] - game.empty.double()) / rest
        steps = torch.cat([steps, left[..., None].expand(-1, -1, rest)], dim=2)
    return torch.empty_like(steps).scatter_(2, order, steps)


def _draw(game: Game, draw: int, seed: int, shared: bool, antithetic: bool) -> np.ndarray:
    """The removal orders of a draw, int [N, n]."""
    if not antithetic:
        return draw_orders(game, draw, seed, shared)
    return draw_orders(game, draw // 2, seed, shared)[:, :: -1 if draw % 2 else 1]


def _check_orders(orders: np.ndarray, units: int) -> np.ndarray:
    if orders.ndim != 2 or not np.array_equal(np.sort(orders, axis=1), np.tile(np.arange(units), (len(orders), 1))):
        raise ShapPruneError(
            f"orders of shape {orders.shape} are no removal orders of {units} units, int [K, {units}] is needed"
        )
    return orders
