"""Coalition tables: what every coalition of a small layer is worth."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from shapprune.core.progress import track
from shapprune.game.payoffs import Payoff, accuracy, minus_loss, require_finite
from shapprune.shapley.enumeration import kept_units, require_enumerable
from shapprune.shapley.unfinished import Unfinished

if TYPE_CHECKING:
    from shapprune.game.protocol import PayoffGame

_CHUNK = 4096


class Tables(NamedTuple):
    """Means over the examples of every coalition of a layer, float64 [2^n] each.

    Bit i of the index set = unit i kept, so the last entry is of the whole layer.

    Attributes:
        payoff: what the coalition is worth.
        loss: cross-entropy.
        accuracy: share of right answers.
    """

    payoff: np.ndarray
    loss: np.ndarray
    accuracy: np.ndarray


def coalition_table(game: PayoffGame, checkpoint: Path | None = None) -> np.ndarray:
    """The mean payoff over the examples of every coalition of a layer.

    Args:
        game: a layer of at most 20 units.
        checkpoint: a file that is written now and then; a table that was cut off goes on from it, after its last
            finished batch of coalitions, and comes out the same. It is left there for the caller to delete.

    Returns:
        float64 [2^n]; bit i of the index set = unit i kept, so the last entry is the whole layer.

    Raises:
        ShapPruneError: more than 20 units, or a payoff that is not finite.
    """
    return _means(game, [game.payoff], checkpoint)[0]


def coalition_tables(game: PayoffGame, checkpoint: Path | None = None) -> Tables:
    """The mean payoff, loss and accuracy of every coalition of a layer, from one pass over all of them.

    Args:
        game: as for `coalition_table`; its labels are classes.
        checkpoint: as for `coalition_table`.

    Raises:
        ShapPruneError: as for `coalition_table`.
    """
    payoffs, places = _distinct(game.payoff)
    means = _means(game, payoffs, checkpoint)
    payoff, minus, right = (means[place] for place in places)
    return Tables(payoff, -minus, right)


def example_tables(game: PayoffGame) -> Tensor:
    """The payoff, loss and accuracy of every coalition for each example, float32 [3, 2^n, N] on the CPU.

    Args:
        game: a layer of at most 20 units; the result takes 12 N 2^n bytes.

    Raises:
        ShapPruneError: as for `coalition_table`.
    """
    require_enumerable(game)
    payoffs, places = _distinct(game.payoff)
    tables = torch.empty(len(payoffs), 2**game.units, len(game))
    for some, values in _batches(game, payoffs, 0):
        tables[:, some] = values.float().cpu()
    require_finite(tables.permute(2, 1, 0), f"coalition table of layer {game.layer!r}")
    tables = tables[places]
    tables[1].neg_()
    return tables


def _distinct(payoff: Payoff) -> tuple[list[Payoff], list[int]]:
    """The payoffs that the three tables need, each once, and the place of payoff, minus loss and accuracy in them."""
    payoffs = list(dict.fromkeys([payoff, minus_loss, accuracy]))
    return payoffs, [payoffs.index(each) for each in (payoff, minus_loss, accuracy)]


def _means(game: PayoffGame, payoffs: Sequence[Payoff], checkpoint: Path | None) -> np.ndarray:
    """Means over the examples, float64 [k, 2^n]."""
    require_enumerable(game)
    unfinished = Unfinished(checkpoint, game, "coalition table", len(payoffs))
    found = unfinished.saved.get("found", torch.empty(len(payoffs), 2**game.units, dtype=torch.float64))
    for some, values in _batches(game, payoffs, unfinished.saved.get("seen", 0)):
        found[:, some] = values.double().mean(2).cpu()
        unfinished.save(f"coalition {some.stop} of {2**game.units}", found=found, seen=some.stop)
    unfinished.finish()
    require_finite(found.T, f"coalition table of layer {game.layer!r}")
    payoff = found[0]
    if bool((payoff == payoff[0]).all()):
        warnings.warn(
            f"all coalitions of layer {game.layer!r} have the same payoff, so the values of all its units are 0",
            stacklevel=3,
        )
    return found.numpy()


def _batches(game: PayoffGame, payoffs: Sequence[Payoff], seen: int) -> Iterator[tuple[slice, Tensor]]:
    """The values of all coalitions from one on, in batches: their places in a table, and [k, batch, N]."""
    for start in track(range(seen, 2**game.units, _CHUNK), f"coalitions of {game.layer}"):
        some = slice(start, min(start + _CHUNK, 2**game.units))
        yield some, game.values_by(kept_units(range(some.start, some.stop), game.units), payoffs)
