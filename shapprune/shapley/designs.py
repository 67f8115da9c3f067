"""Designs of a regression: which coalitions it values, and the weight of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb
from typing import NamedTuple

import numpy as np

from shapprune.shapley.enumeration import sets_by_rank, sets_of_sizes

_RANKED = 2**63  # integers can number this many sets; of more, a million random ones repeat with a chance of 1e-7
_ROWS = 1024  # sets drawn at a time
_MOST_SETS = 10**304  # counted; a float holds no more than 1.8e308


@dataclass(frozen=True)
class Design:
    """M sets of draws of coalitions (one for each example, or one for all), and the weight of each coalition.

    Attributes:
        units: number of units of the layer, n.
        draws: number of coalitions, or of pairs of a coalition and its complement, D.
        paired: whether a draw is a pair.
        weights: weight of a coalition of each size, float64 [n+1].
        spreads: square root of the share of the coalitions of each size that is not expected to be drawn, float64
            [n+1]. Draws without replacement err less than independent ones by this factor. 1 if the draws are few.
        packed: the drawn coalitions as bits, uint8 [M, D, ceil(n/8)]; None if the design has all, in order.
        fresh: False for a draw that repeats one before and does not count, bool [M, D]; None if all count.
    """

    units: int
    draws: int
    paired: bool
    weights: np.ndarray
    spreads: np.ndarray
    packed: np.ndarray | None = None
    fresh: np.ndarray | None = None

    @property
    def rows(self) -> int:
        """Coalitions in a draw."""
        return 2 if self.paired else 1

    def kept(self, draws: slice, which: slice = slice(None)) -> np.ndarray:
        """The coalitions of some draws of some of the M sets as masks, bool [M', rows, n].

        A complement follows its coalition.
        """
        if self.packed is None:
            return sets_of_sizes(range(1, self.units), self.units, draws.start, draws.stop)[None]
        sets = np.unpackbits(self.packed[which, draws], axis=2, count=self.units).view(bool)
        if not self.paired:
            return sets
        return np.stack([sets, ~sets], axis=2).reshape(len(sets), -1, self.units)

    def counts(self, kept: np.ndarray, draws: slice, which: slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """Weight and spread of each coalition that `kept` returned, float64 [M', rows] each."""
        sizes = kept.sum(2)
        weights = self.weights[sizes]
        if self.fresh is not None:
            weights = weights * self.fresh[which, draws].repeat(self.rows, axis=1)
        return weights, self.spreads[sizes]


class _Sampling(NamedTuple):
    """How one set of draws is made.

    Attributes:
        draw: makes the set from a random generator, bool [D, n].
        expected: number of coalitions of sizes 1 ... n-1 that count, on average, float64 [n-1].
        share: the same as a share of all coalitions of the size; 0 if a coalition may count more than once.
    """

    draw: Callable[[np.random.Generator], np.ndarray]
    expected: np.ndarray
    share: np.ndarray


def every_coalition(units: int, sampling: str, weighting: str) -> Design:
    """All coalitions but the empty and the whole, once each, with the weights that infinitely many draws tend to."""
    weights = np.ones(units - 1)
    if "kernel" in (sampling, weighting):  # draws with repetition tend to the kernel without weights
        weights = _masses(units) / [float(comb(units, size)) for size in range(1, units)]
    return Design(units, 2**units - 2, False, _of_all_sizes(weights), np.zeros(units + 1))


def random_coalitions(
    units: int, draws: int, paired: bool, sampling: str, weighting: str, randoms: Sequence[np.random.Generator]
) -> Design:
    """Draw random coalitions, one set of draws for each random generator.

    Args:
        units: number of units of the layer, n.
        draws: number of coalitions, or of pairs; fewer than exist.
        paired: whether every coalition comes with its complement.
        sampling: as in `regression`.
        weighting: as in `regression`. Kernel weights make sums over the draws estimate sums over all coalitions.
        randoms: M random generators.

    Source: leverage scores, Musco and Witter 2025. There sets are drawn independently, here sizes are stratified.
    """
    if sampling == "leverage":
        made = _stratified(units, draws, paired)
    else:
        sizes = np.arange(1, units)
        chances = 1 / (sizes * (units - sizes)) if sampling == "kernel" else np.ones(units - 1)
        made = _independent(units, draws, paired, chances / chances.sum(), repeated=sampling == "kernel")
    weights = _masses(units) / made.expected if weighting == "kernel" else np.ones(units - 1)
    packed = np.stack([np.packbits(made.draw(random), axis=1) for random in randoms])
    fresh = np.stack([_fresh(each, units, paired) for each in packed]) if sampling == "uniform" else None
    # Few draws are fitted exactly whatever their weights, so the jackknife must leave a group out entirely (spread 1).
    share = made.share if draws >= 2 * units else np.zeros(units - 1)
    return Design(units, draws, paired, _of_all_sizes(weights), _of_all_sizes(np.sqrt(1 - share)), packed, fresh)


def _masses(units: int) -> np.ndarray:
    """The Shapley kernel, summed over all coalitions of a size, for sizes 1 ... n-1."""
    sizes = np.arange(1, units)
    return (units - 1) / (sizes * (units - sizes))


def _of_all_sizes(inner: np.ndarray) -> np.ndarray:
    """Extend numbers for sizes 1 ... n-1 to sizes 0 ... n, with zeros."""
    return np.pad(inner, 1)


def _independent(units: int, draws: int, paired: bool, chances: np.ndarray, repeated: bool) -> _Sampling:
    """Draw a size, then a set of that size."""

    def draw(random: np.random.Generator) -> np.ndarray:
        return _random_sets(random, random.choice(units - 1, draws, p=chances) + 1, units)

    coming = draws * chances * (2 if paired else 1)
    if repeated:
        return _Sampling(draw, coming, np.zeros(units - 1))
    sets = np.array([float(min(comb(units, size), _MOST_SETS)) for size in range(1, units)])
    share = -np.expm1(draws * np.log1p(-coming / draws / sets))
    return _Sampling(draw, np.where(coming < 1e-9 * sets, coming, share * sets), share)


def _random_sets(random: np.random.Generator, sizes: np.ndarray, units: int) -> np.ndarray:
    """Draw a random set of each size, bool [len(sizes), units]."""
    masks = np.empty((len(sizes), units), dtype=bool)
    for start in range(0, len(sizes), _ROWS):
        some = sizes[start : start + _ROWS]
        keys = random.random((len(some), units))
        last = np.sort(keys, axis=1)[np.arange(len(some)), some - 1]
        masks[start : start + _ROWS] = keys <= last[:, None]
    return masks


def _stratified(units: int, draws: int, paired: bool) -> _Sampling:
    """Draw as many different sets of each size as of every other, or all that exist.

    A pair has the size of its smaller coalition. A pair of two halves holds two coalitions of its size, so half as many
    are drawn.
    """
    sizes = np.arange(1, units // 2 + 1 if paired else units)
    bring = np.where(paired & (2 * sizes == units), 2, 1)
    sets = [min(comb(units, size) // each, _RANKED) for size, each in zip(sizes.tolist(), bring.tolist(), strict=True)]
    expected, full = np.zeros(len(sizes)), np.zeros(len(sizes), dtype=bool)
    left, parts = draws, float((1 / bring).sum())
    for place in np.argsort(np.minimum(sizes, units - sizes), kind="stable"):  # the sizes with the fewest sets first
        expected[place] = left / parts / bring[place]
        if sets[place] <= expected[place]:
            full[place], expected[place] = True, sets[place]
            left, parts = left - sets[place], parts - 1 / bring[place]

    def draw(random: np.random.Generator) -> np.ndarray:
        # One random number rounds all fractions, so that the sizes that are rounded up lie evenly.
        ends = np.floor(np.cumsum(np.where(full, 0, expected)) + random.random())
        ends[-1] = left
        counts = np.where(full, expected, np.diff(ends, prepend=0)).astype(int)
        ranked = [
            sets_by_rank(random.choice(total, count, replace=False), size, units)
            for size, count, total in zip(sizes.tolist(), counts, sets, strict=True)
            if total < _RANKED
        ]
        others = np.repeat(sizes, np.where([total < _RANKED for total in sets], 0, counts))
        return np.concatenate([*ranked, _random_sets(random, others, units)])

    share = expected / [float(total) for total in sets]
    if not paired:
        return _Sampling(draw, expected, share)
    smaller = np.minimum(np.arange(1, units), np.arange(units - 1, 0, -1)) - 1
    return _Sampling(draw, (expected * bring)[smaller], share[smaller])


def _fresh(packed: np.ndarray, units: int, paired: bool) -> np.ndarray:
    """Whether each draw differs from all before it, bool [D]; a pair and its complement are the same."""
    sets = np.unpackbits(packed, axis=1, count=units).view(bool)
    if paired:
        sets = sets ^ sets[:, :1]
    fresh = np.zeros(len(sets), dtype=bool)
    fresh[np.unique(np.packbits(sets, axis=1), axis=0, return_index=True)[1]] = True
    return fresh
