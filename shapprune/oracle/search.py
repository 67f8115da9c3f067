"""Search for good sets of units to remove from a layer that has too many coalitions to value them all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING

import numpy as np

from shapprune.core.errors import ShapPruneError
from shapprune.core.progress import track

if TYPE_CHECKING:
    from shapprune.game.protocol import Game

_CHUNK = 256  # coalitions in a call


@dataclass(frozen=True)
class FoundSet:
    """The best set of one size that was found.

    Attributes:
        size: how many units are removed, s.
        units: the units that are removed, in increasing order.
        value: mean payoff of the units that are kept.
        exhaustive: whether all sets of that size were valued, so that this is an oracle set. If not, ``value`` is a
            lower bound of the oracle set's value; how far below is not known.
    """

    size: int
    units: tuple[int, ...]
    value: float
    exhaustive: bool


def search_sets(game: Game, budget: int = 20_000, beam: int = 4, swaps: bool = True, seed: int = 0) -> list[FoundSet]:
    """Search for the set of each size whose removal costs least.

    Half the budget goes to exhaustive search, from both ends: all sets of few removed units, and of few kept ones. The
    sizes between are reached by beam search: each of the best sets of a size loses one unit more (``beam=1`` is greedy
    removal). The rest of the budget goes to swaps: a removed unit changes places with a kept one, as long as the best
    set of its size gets better.

    Args:
        game: the layer.
        budget: the largest number of coalitions to value; one that comes again is not valued again.
        beam: how many sets of each size are continued; fewer if the budget is short.
        swaps: whether to swap units at the end.
        seed: seed of the choice of swaps that are tried if not all can be.

    Returns:
        A set of every size from 0 to n.

    Raises:
        ShapPruneError: a beam below 1, or a budget below what greedy removal takes.

    Examples:
        >>> import torch, shapprune
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(4, 30), nn.ReLU(), nn.Linear(30, 2))
        >>> game = shapprune.LayerGame(model, "0", torch.rand(5, 4), torch.tensor([0, 1, 1, 0, 1]))
        >>> found = shapprune.oracle.search_sets(game, budget=1000)
        >>> [(each.size, len(each.units), each.exhaustive) for each in found[:4]]
        [(0, 0, True), (1, 1, True), (2, 2, True), (3, 3, False)]
        >>> game.evaluations <= 1000
        True
    """
    if beam < 1:
        raise ShapPruneError(f"beam = {beam}, at least 1 is needed")
    n = game.units
    if budget < (least := n * (n + 1) // 2 + 1):
        raise ShapPruneError(
            f"a budget of {budget} coalitions is below the {least} that greedy removal of {n} units takes"
        )
    search = _Search(game)
    exhaustive = search.all_sets(_sizes(n, budget if 2**n <= budget else max(1, min(budget // 2, budget - least))))
    inner = [size for size in range(n + 1) if size not in exhaustive]
    for place, size in enumerate(track(inner, f"sets of {game.layer}")):
        left = budget - search.valued
        # Keep enough for greedy removal through the larger sizes.
        later = sum(n - each + 1 for each in inner[place + 1 :])
        wide = max(1, min(beam, (left // (2 if swaps else 1) - later) // (n - size + 1)))
        search.grow(size, wide)
    if swaps:
        search.swap(inner, budget, np.random.default_rng(seed))
    return [FoundSet(size, *search.best(size), exhaustive=size in exhaustive) for size in range(n + 1)]


def _sizes(units: int, budget: int) -> list[int]:
    """The sizes that are searched exhaustively within a budget, from both ends inwards."""
    sizes: list[int] = []
    for few in range(units // 2 + 1):
        for size in dict.fromkeys((few, units - few)):
            if (budget := budget - comb(units, size)) < 0:
                return sizes
            sizes.append(size)
    return sizes


class _Search:
    """The sets valued so far.

    Attributes:
        valued: how many there are.
    """

    def __init__(self, game: Game):
        self._game = game
        self._values: list[dict[frozenset[int], float]] = [{} for _ in range(game.units + 1)]
        self.valued = 0

    def best(self, size: int) -> tuple[tuple[int, ...], float]:
        """The best set of a size and its value; of equal ones the first in the order of its units."""
        value = max(self._values[size].values())
        ties = [sorted(units) for units, each in self._values[size].items() if each == value]
        return tuple(min(ties)), value

    def all_sets(self, sizes: list[int]) -> set[int]:
        """Value all sets of some sizes; return the sizes."""
        n = self._game.units
        self._value(frozenset(units) for size in sizes for units in combinations(range(n), size))
        return set(sizes)

    def grow(self, size: int, beam: int) -> None:
        """Add one unit more to each of the best sets of the size before, in every way."""
        before = self._values[size - 1]
        carried = sorted(before, key=lambda units: (-before[units], sorted(units)))[:beam]
        self._value({units | {more} for units in carried for more in range(self._game.units) if more not in units})

    def swap(self, sizes: list[int], budget: int, random: np.random.Generator) -> None:
        """Swap removed units for kept ones in the best sets, as long as that helps and the budget lasts."""
        going = list(sizes)
        while going and self.valued < budget:
            share = max(1, (budget - self.valued) // len(going))
            going = [size for size in going if self._swap_once(size, min(share, budget - self.valued), random)]

    def _swap_once(self, size: int, share: int, random: np.random.Generator) -> bool:
        """Try up to ``share`` swaps in the best set of a size; return whether one was better."""
        units, value = self.best(size)
        kept = [unit for unit in range(self._game.units) if unit not in units]
        pairs = [(one, other) for one in units for other in kept]
        some = [pairs[place] for place in random.permutation(len(pairs))[:share]]
        self._value(frozenset(units) - {one} | {other} for one, other in some)
        return self.best(size)[1] > value

    def _value(self, sets: Iterator[frozenset[int]] | set[frozenset[int]]) -> None:
        """Value the sets that were not valued before."""
        for some in _chunks(units for units in sets if units not in self._values[len(units)]):
            kept = np.ones((len(some), self._game.units), dtype=bool)
            for row, units in zip(kept, some, strict=True):
                row[list(units)] = False
            for units, value in zip(some, self._game.value(kept).double().mean(1).tolist(), strict=True):
                self._values[len(units)][units] = value
            self.valued += len(some)


def _chunks(sets: Iterator[frozenset[int]]) -> Iterator[list[frozenset[int]]]:
    """Sets in lists of at most `_CHUNK`, without repetition within a list."""
    chunk: dict[frozenset[int], None] = {}
    for units in sets:
        chunk[units] = None
        if len(chunk) == _CHUNK:
            yield list(chunk)
            chunk = {}
    if chunk:
        yield list(chunk)
