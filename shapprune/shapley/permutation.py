"""Shapley values by removing units in random orders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from shapprune.core.errors import ShapPruneError
from shapprune.core.progress import track
from shapprune.game.protocol import Game
from shapprune.shapley.criterion import Estimate, criterion
from shapprune.shapley.draws import Draws, draw_orders
from shapprune.shapley.scores import UnitScores
from shapprune.shapley.unfinished import Unfinished

_TOGETHER = 8  # draws in one call, which share what is computed once for each example
_BETWEEN_TESTS = 4  # draws between two tests whether all units are decided


@criterion(
    "permutation",
    limits={
        "permutations": {"minimum": 1},
        "depth": {"above": 0, "maximum": 1},
        "low": {"minimum": 0, "below": 1},
        "settle": {"above": 0, "below": 1},
    },
    shapley=True,
    walks=True,
)
def permutation(
    game: Game,
    permutations: int = 5,
    shared: bool = False,
    antithetic: bool = False,
    depth: float = 1.0,
    low: float = 0.0,
    settle: Sequence[float] = (),
    settle_by: str = "mean",
    seed: int = 0,
    orders: np.ndarray | Tensor | None = None,
    checkpoint: Path | None = None,
) -> Estimate:
    """Shapley value by removing the units in random orders (Castro et al. 2009; Ancona et al. 2020).

    The value of a unit is what its removal costs, averaged over the orders.

    Args:
        game: the layer.
        permutations: random orders for each example. K in the following.
        shared: walk the same orders for all examples, as TorchPruner does. By default each example has its own orders:
            the work is the same, and the errors of the examples average out instead of adding up.
        antithetic: make every other order the reverse of the one before.
        depth: share of each order that is walked. The units behind it share equally what is left to lose. This saves
            work and adds a bias; it suits those who need the first removals only.
        low: least share of units in a coalition. Above 0 orders are walked that far, and nothing is said of what is
            left: the result is no Shapley value but the mean marginal contribution to coalitions of these sizes. In
            games that say nothing far from the whole network, as those of its blocks, take 0.7. Orders follow each
            other in turns in which each unit is among the first to leave.
        settle: stop early when no unit is undecided at any of these ratios. The test (`UnitScores.undecided`) is
            repeated every few draws, so a wrong "decided" is likelier than the 5 % of a single test.
        settle_by: the aggregate that orders the units for ``settle``.
        seed: of the orders; see `shapprune.score`.
        orders: removal orders to walk instead of random ones, int [K, n], shared by all examples; the first unit
            leaves first.
        checkpoint: see `shapprune.score`.

    Returns:
        UnitScores with values float [N, n]. For each example they sum to v(all) - v(none) exactly, for any K. The
        cost is K (n - 1) evaluations (K n depth for a depth below 1, K n (1 - low) for a low above 0) and two for both
        ends. ``settled`` says whether the draws sufficed, if ``settle`` is given.

    Raises:
        ShapPruneError: an option out of bounds, ``low`` with ``depth`` or ``antithetic``, or ``orders`` that are not
            permutations of the units.

    Source: Castro et al. 2009, "Polynomial calculation of the Shapley value based on sampling"; section 3.1 of Ancona
    et al. 2020, whose code walks K = 5 shared orders.

    Examples:
        >>> import torch, shapprune
        >>> network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
        >>> game = shapprune.LayerGame(network, "0", torch.rand(5, 3), torch.tensor([0, 1, 0, 1, 1]))
        >>> scores = shapprune.shapley.permutation(game, permutations=20, seed=1)
        >>> scores.values.shape, scores.evaluations
        (torch.Size([5, 4]), 62.0)
        >>> torch.allclose(scores.values.sum(1), (game.full - game.empty).double(), atol=1e-5)
        True
    """
    if low and (depth < 1 or antithetic):
        raise ShapPruneError(
            f"low {low:g} goes with neither depth nor antithetic, which look at the rest of the orders"
        )
    given = None if orders is None else _check_orders(np.asarray(orders), game.units)
    draws = len(given) if given is not None else permutations
    if draws < 1:
        raise ShapPruneError(f"orders of shape [0, {game.units}] are none, at least 1 is needed")
    _ = game.full, game.empty  # always valued, so that the cost is the same after an interruption
    unfinished = Unfinished(
        *(checkpoint, game, "permutation", draws, shared, antithetic, depth, low, list(settle), settle_by, seed, given)
    )
    steps = max(1, int((1 - low) * game.units + 1e-9) if low else round(depth * game.units))
    turns = -(-game.units // steps) if low else 1
    together = turns if given is None and low else 2 if antithetic and given is None else 1
    drawn = Draws(draws, unfinished, together)

    def all_decided() -> bool:
        values, groups = drawn.result()
        so_far = UnitScores(values, "permutation", 0, 0, groups)
        return not any(so_far.undecided(ratio, settle_by).any() for ratio in settle)

    at_once = _BETWEEN_TESTS if settle else game.at_once(_TOGETHER)
    for first in track(range(drawn.seen, draws, at_once), f"permutations of {game.layer}"):
        if settle and drawn.seen and all_decided():
            break
        some = range(first, min(first + at_once, draws))
        if given is not None:
            walked = np.tile(given[some.start : some.stop, None], (1, len(game), 1))
        else:
            walked = np.stack([_draw(game, draw, seed, shared, antithetic, turns) for draw in some])
        drawn.add(_marginals(game, torch.from_numpy(walked).to(game.device), steps, rest=not low))
    return Estimate(*drawn.result(), all_decided() if settle else None, unfinished)


def _marginals(game: Game, order: Tensor, depth: int, rest: bool) -> Tensor:
    """What each unit's removal costs along orders [K, N, n]: float64 [K, N, n], in the order of the units.

    Args:
        game: the layer.
        order: the orders.
        depth: how many units of each leave.
        rest: whether those behind share what is left to lose; else they get 0, and the others as much more as makes the
            mean over random orders right.
    """
    values = game.walk(order, depth).double().transpose(1, 2)  # [K, N, depth + 1]
    steps = values[..., :-1] - values[..., 1:]
    if behind := game.units - depth:
        left = (values[..., -1] - game.empty.double()) / behind if rest else torch.zeros_like(values[..., -1])
        steps = torch.cat([steps if rest else steps * game.units / depth, left[..., None].expand(-1, -1, behind)], 2)
    return torch.empty_like(steps).scatter_(2, order, steps)


def _draw(game: Game, draw: int, seed: int, shared: bool, antithetic: bool, turns: int) -> np.ndarray:
    """The removal orders of a draw, int [N, n]; so many draws in a row begin an order at other places."""
    if not antithetic:
        orders = draw_orders(game, draw // turns, seed, shared)
        return np.roll(orders, -(draw % turns) * (game.units // turns + bool(game.units % turns)), axis=1)
    return draw_orders(game, draw // 2, seed, shared)[:, :: -1 if draw % 2 else 1]


def _check_orders(orders: np.ndarray, units: int) -> np.ndarray:
    if orders.ndim != 2 or not np.array_equal(np.sort(orders, axis=1), np.tile(np.arange(units), (len(orders), 1))):
        raise ShapPruneError(
            f"orders of shape {list(orders.shape)} are no removal orders of {units} units, int [K, {units}] is needed"
        )
    return orders
