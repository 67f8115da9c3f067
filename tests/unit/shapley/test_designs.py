"""Which coalitions a regression draws, and the weights that make sums over them unbiased."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest

from shapprune.shapley.designs import every_coalition, random_coalitions
from tests.games import SAMPLINGS


def randoms(count):
    return [np.random.default_rng([7, each]) for each in range(count)]


@pytest.mark.parametrize(
    ("units", "draws", "paired"), [(5, 9, True), (5, 20, False), (6, 12, True), (6, 31, False), (6, 2, True)]
)
def test_leverage_draws_no_coalition_twice_and_all_sizes_alike(units, draws, paired):
    design = random_coalitions(units, draws, paired, "leverage", "kernel", randoms(4000))
    kept = design.kept(slice(0, draws))
    numbers = np.sort(kept @ (1 << np.arange(units)), axis=1)
    assert (np.diff(numbers, axis=1) > 0).all()
    of_size = np.stack([(kept.sum(2) == size).sum(1) for size in range(1, units)], axis=1)
    there = np.array([comb(units, size) for size in range(1, units)])
    level = of_size[:, there > of_size.max(0)]  # sizes of which not all are there
    step = 2 if paired else 1  # with its complement a set of half the units brings another one
    assert (level.max(1) - level.min(1) <= step).all()
    # Every coalition of a size is as likely as every other, and as its weight says: counts are binomial.
    share = np.array([(numbers == number).any(1).mean() for number in range(1, 2**units - 1)])
    sizes = np.bitwise_count(np.arange(1, 2**units - 1))
    mass = (units - 1) / (sizes * (units - sizes)) / there[sizes - 1]
    np.testing.assert_allclose(
        share * design.weights[sizes], mass, rtol=0, atol=5 * (mass / (4000 * share) ** 0.5).max()
    )


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("paired", [False, True])
def test_weights_make_sums_over_draws_unbiased(sampling, paired):
    units, draws = 5, 8
    design = random_coalitions(units, draws, paired, sampling, "kernel", randoms(4000))
    kept = design.kept(slice(0, draws))
    weights, _ = design.counts(kept, slice(0, draws))
    numbers = kept @ (1 << np.arange(units))
    every = every_coalition(units, sampling, "kernel").weights
    scale = 1.0
    if sampling == "kernel":  # weights are told but for a factor
        scale = sum(comb(units, s) * every[s] for s in range(1, units)) / weights.sum(1).mean()
    for number in range(1, 2**units - 1):
        sums = np.where(numbers == number, weights, 0).sum(1) * scale
        # the mean of 4,000 sums, within five of its standard errors
        assert abs(sums.mean() - every[number.bit_count()]) < 5 * sums.std() / 4000**0.5


def test_uniform_sizes_and_collapsed_duplicates():
    design = random_coalitions(4, 6, False, "uniform", "none", randoms(500))
    kept = design.kept(slice(0, 6))
    assert [(kept.sum(2) == size).mean() for size in (1, 2, 3)] == pytest.approx([1 / 3] * 3, abs=0.05)
    weights, _ = design.counts(kept, slice(0, 6))
    for masks, counted in zip(kept, weights, strict=True):
        assert counted.sum() == len(np.unique(masks, axis=0))
    pairs = random_coalitions(4, 6, True, "uniform", "none", randoms(500))
    kept = pairs.kept(slice(0, 6))
    weights, _ = pairs.counts(kept, slice(0, 6))
    assert (kept[:, ::2] == ~kept[:, 1::2]).all()
    for masks, counted in zip(kept, weights, strict=True):
        assert counted.sum() == len(np.unique(masks, axis=0))


@pytest.mark.parametrize("units", [70, 512, 1500])
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_draws_of_wide_layers(units, sampling):
    design = random_coalitions(units, 100, True, sampling, "kernel", randoms(2))
    kept = design.kept(slice(0, 100))
    sizes = kept.sum(2)
    assert sizes.min() >= 1
    assert sizes.max() <= units - 1
    weights, spreads = design.counts(kept, slice(0, 100))
    assert np.isfinite(weights).all()
    assert (weights > 0).all()
    assert (spreads == 1).all()
