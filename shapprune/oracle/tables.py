"""Coalition tables: the value of every coalition of a small layer."""

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
    """Means over the examples for every coalition of a layer, float64 [2^n] each.

    Bit i of the index set = unit i kept, so the last number is that of the whole layer.

    Attributes:
        payoff: mean payoff.
        loss: mean cross-entropy.
        accuracy: share of right answers.
    """

    payoff: np.ndarray
    loss: np.ndarray
    accuracy: np.ndarray


def coalition_table(game: PayoffGame, checkpoint: Path | None = None) -> np.ndarray:
    """The mean payoff over the examples of every coalition of a layer.

    Args:
        game: a layer of at most 20 units.
        checkpoint: a file to go on from if the call is cut off, as for `shapprune.score`.

    Returns:
        float64 [2^n]; bit i of the index set = unit i kept, so the last number is that of the whole layer.

    Raises:
        ShapPruneError: more than 20 units, or a payoff that is not finite.

    Examples:
        >>> import torch, shapprune
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> game = shapprune.LayerGame(model, "0", torch.rand(5, 4), torch.tensor([0, 1, 1, 0, 1]))
        >>> table = shapprune.oracle.coalition_table(game)
        >>> table.shape
        (8,)
        >>> [len(units) for units in shapprune.oracle.oracle_sets(table)]  # the best sets to remove, by size
        [0, 1, 2, 3]
    """
    return _means(game, [game.payoff], checkpoint)[0]


def coalition_tables(game: PayoffGame, checkpoint: Path | None = None) -> Tables:
    """The mean payoff, loss and accuracy of every coalition of a layer, each valued once.

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
        game: a layer of at most 20 units; its labels are classes. The result takes 12 N 2^n bytes.

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
    """The different payoffs of the three tables, and the places of payoff, minus loss and accuracy among them."""
    payoffs = list(dict.fromkeys([payoff, minus_loss, accuracy]))
    return payoffs, [payoffs.index(each) for each in (payoff, minus_loss, accuracy)]


def _means(game: PayoffGame, payoffs: Sequence[Payoff], checkpoint: Path | None) -> np.ndarray:
    """Means of k payoffs over the examples, float64 [k, 2^n]."""
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
    """The values of all coalitions from index ``seen`` on, in batches: their indices, and values [k, batch, N]."""
    for start in track(range(seen, 2**game.units, _CHUNK), f"coalitions of {game.layer}"):
        some = slice(start, min(start + _CHUNK, 2**game.units))
        yield some, game.values_by(kept_units(range(some.start, some.stop), game.units), payoffs)
