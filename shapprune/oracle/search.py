"""Good sets of units to remove from a layer that is too large to value all its coalitions."""

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
    """The best set of its size that was found.

    Attributes:
        size: how many units are removed, s.
        units: which, in increasing order.
        value: mean payoff of what is left.
        exhaustive: whether all sets of that size were valued, so that it is an oracle set. Otherwise it is a heuristic:
            its value is a lower bound of the oracle set's, and how far below it lies is not known.
    """

    size: int
    units: tuple[int, ...]
    value: float
    exhaustive: bool


def search_sets(game: Game, budget: int = 20_000, beam: int = 4, swaps: bool = True, seed: int = 0) -> list[FoundSet]:
    """Look for the sets of units whose joint removal costs least, of every size.

    All sets are valued of as many sizes as half the budget allows, from both ends: few units removed, and few kept. In
    between a beam search removes one unit after the other from the best sets of the size before (``beam=1`` is greedy
    removal), and what is left of the budget goes into swaps: a removed unit comes back for one that was kept, as long
    as that helps.

    Args:
        game: the layer.
        budget: the most coalitions to value; every one counts once.
        beam: how many sets of each size are carried on, fewer where the budget is short.
        swaps: whether to swap units in the end.
        seed: of which swaps are tried where there are too many.

    Returns:
        A set of every size from 0 to n. What is not ``exhaustive`` is a lower bound.

    Raises:
        ShapPruneError: a beam below 1, or a budget that does not suffice for greedy removal.
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
        # What greedy removal of the sizes to come takes is not spent here.
        later = sum(n - each + 1 for each in inner[place + 1 :])
        wide = max(1, min(beam, (left // (2 if swaps else 1) - later) // (n - size + 1)))
        search.grow(size, wide)
    if swaps:
        search.swap(inner, budget, np.random.default_rng(seed))
    return [FoundSet(size, *search.best(size), exhaustive=size in exhaustive) for size in range(n + 1)]


def _sizes(units: int, budget: int) -> list[int]:
    """The sizes all of whose sets can be valued, from both ends inwards."""
    sizes: list[int] = []
    for few in range(units // 2 + 1):
        for size in dict.fromkeys((few, units - few)):
            if (budget := budget - comb(units, size)) < 0:
                return sizes
            sizes.append(size)
    return sizes


class _Search:
    """The sets that were valued, by size.

    Attributes:
        valued: how many.
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
        """Value all sets of some sizes, and return these."""
        n = self._game.units
        self._value(frozenset(units) for size in sizes for units in combinations(range(n), size))
        return set(sizes)

    def grow(self, size: int, beam: int) -> None:
        """Value the best sets of the size before with one unit more."""
        before = self._values[size - 1]
        carried = sorted(before, key=lambda units: (-before[units], sorted(units)))[:beam]
        self._value({units | {more} for units in carried for more in range(self._game.units) if more not in units})

    def swap(self, sizes: list[int], budget: int, random: np.random.Generator) -> None:
        """Swap a removed unit for a kept one in the best sets, as long as that helps and the budget lasts."""
        going = list(sizes)
        while going and self.valued < budget:
            share = max(1, (budget - self.valued) // len(going))
            going = [size for size in going if self._swap_once(size, min(share, budget - self.valued), random)]

    def _swap_once(self, size: int, share: int, random: np.random.Generator) -> bool:
        """Try up to ``share`` swaps; whether any was better."""
        units, value = self.best(size)
        kept = [unit for unit in range(self._game.units) if unit not in units]
        pairs = [(one, other) for one in units for other in kept]
        some = [pairs[place] for place in random.permutation(len(pairs))[:share]]
        self._value(frozenset(units) - {one} | {other} for one, other in some)
        return self.best(size)[1] > value

    def _value(self, sets: Iterator[frozenset[int]] | set[frozenset[int]]) -> None:
        """Value those sets that were not valued before."""
        for some in _chunks(units for units in sets if units not in self._values[len(units)]):
            kept = np.ones((len(some), self._game.units), dtype=bool)
            for row, units in zip(kept, some, strict=True):
                row[list(units)] = False
            for units, value in zip(some, self._game.value(kept).double().mean(1).tolist(), strict=True):
                self._values[len(units)][units] = value
            self.valued += len(some)


def _chunks(sets: Iterator[frozenset[int]]) -> Iterator[list[frozenset[int]]]:
    """Sets in lists of at most `_CHUNK`, none twice in a list."""
    chunk: dict[frozenset[int], None] = {}
    for units in sets:
        chunk[units] = None
        if len(chunk) == _CHUNK:
            yield list(chunk)
            chunk = {}
    if chunk:
        yield list(chunk)
