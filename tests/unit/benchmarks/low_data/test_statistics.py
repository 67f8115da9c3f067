"""Intervals and tests against what can be computed by hand, scipy and published numbers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from benchmarks.low_data.statistics import (
    Bootstrap,
    cliques,
    critical_difference,
    friedman,
    mean_ranks,
    wilcoxon,
)

# Table 6 of Demšar 2006: AUC of four variants of C4.5 on 14 data sets. Where two are equal to three digits but have
# different ranks there, the fourth digit is made up so that they have these.
DEMSAR = np.array(
    [
        (0.763, 0.768, 0.771, 0.798),
        (0.599, 0.591, 0.590, 0.569),
        (0.954, 0.971, 0.968, 0.967),
        (0.628, 0.661, 0.654, 0.657),
        (0.882, 0.888, 0.886, 0.898),
        (0.936, 0.931, 0.916, 0.931),
        (0.661, 0.668, 0.609, 0.685),
        (0.583, 0.583, 0.563, 0.625),
        (0.775, 0.838, 0.866, 0.875),
        (1.000, 1.000, 1.000, 1.000),
        (0.940, 0.962, 0.965, 0.962),
        (0.619, 0.666, 0.614, 0.669),
        (0.972, 0.981, 0.9751, 0.975),
        (0.957, 0.978, 0.946, 0.970),
    ]
)


def test_ranks_and_critical_difference_of_the_published_example():
    ranks = mean_ranks(DEMSAR)
    np.testing.assert_allclose(ranks, (3.143, 2.000, 2.893, 1.964), atol=5e-4)  # rounded to three digits there
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=5e-3)
    assert critical_difference(4, 14, level=0.1) == pytest.approx(1.12, abs=5e-3)
    # "F_F = 3.69 is above the critical value of F(3, 39), 2.85".
    assert friedman(DEMSAR) == pytest.approx(stats.f.sf(3.69, 3, 39), rel=0.02)
    # At 10 % C4.5 differs from the two variants with another m; at 5 % no two differ by 1.25.
    order = np.sort(ranks)
    assert cliques(order, 1.25) == [(0, 3)]
    assert cliques(order, 1.12) == [(0, 2), (2, 3)]


def test_one_order_in_all_blocks_and_no_difference_at_all():
    assert friedman(np.tile([0.9, 0.8, 0.7], (5, 1))) == 1 / 6**4  # of six orders, four times the first one's
    assert friedman(np.ones((5, 3))) == 1
    assert mean_ranks(np.ones((5, 3))).tolist() == [2, 2, 2]
    assert cliques([2, 2, 2], 0.1) == [(0, 2)]
    assert cliques([1, 2, 3], 0.5) == []


def test_signed_ranks_are_those_of_all_signs():
    """Of 2^6 signs of the ranks 1 to 6 those count whose sum is at least as far from the middle."""
    differences = np.array([0.3, -0.1, 0.2, 0.6, 0.5, -0.4])
    ranks = np.abs(differences).argsort().argsort() + 1
    found = ranks[differences > 0].sum()
    sums = [sum(np.compress(signs, ranks)) for signs in itertools.product((0, 1), repeat=6)]
    expected = np.mean([abs(each - 10.5) >= abs(found - 10.5) for each in sums])
    assert wilcoxon(differences) == pytest.approx(expected)
    assert wilcoxon([*differences, 0.0]) == pytest.approx(expected)
    assert wilcoxon([0.0, 0.0]) == 1


def test_interval_over_draws_is_that_of_all_resamples():
    """Two draws of one image each: means are 0, 1/2, 1 with probabilities 1/4, 1/2, 1/4."""
    means = Bootstrap(replicates=4000).means(np.array([[0.0], [1.0]]))
    assert set(means) == {0, 0.5, 1}
    assert means.mean() == pytest.approx(0.5, abs=0.025)  # 4.5 standard errors of 4,000 replicates


def test_interval_over_images_is_as_wide_as_a_binomial_one():
    """One draw of 400 images, 100 of them right: standard error (.25 x .75 / 400)^(1/2)."""
    values = np.zeros((1, 400))
    values[:, :100] = 1
    interval = Bootstrap(replicates=4000).interval([values])
    error = (0.25 * 0.75 / 400) ** 0.5
    assert interval.mean == 0.25
    assert (interval.high - interval.low) / (2 * 1.96 * error) == pytest.approx(1, abs=0.06)  # of 4,000 replicates


def test_variance_is_that_of_draws_and_images_together():
    """Without interaction the variances of both means add up, each with n in the place of n - 1."""
    random = np.random.default_rng(0)
    draws, images = random.normal(size=(8, 1)), random.normal(size=(1, 50))
    found = Bootstrap(replicates=4000).means(draws + images)
    expected = draws.var() / 8 + images.var() / 50
    assert found.var() == pytest.approx(expected, rel=0.1)  # 4.5 standard errors of 4,000 replicates


def test_pairs_stay_paired():
    """A method that is right on one image more in each draw is ahead by that in all replicates, whatever they draw."""
    random = np.random.default_rng(1)
    one = random.random((5, 100)) < 0.5
    other = one.copy()
    other[:, 0] = ~other[:, 0]
    bootstrap = Bootstrap()
    both = bootstrap.means(one.astype(float)) - bootstrap.means(other.astype(float))
    np.testing.assert_allclose(both, bootstrap.means(one.astype(float) - other), atol=1e-6)  # float32 sums
    assert bootstrap.interval([one, one]).mean == pytest.approx(one.mean())


def test_blocks_of_the_same_images_see_the_same_ones():
    """Opposite blocks cancel in each replicate, as they could not if each drew images of its own."""
    values = np.random.default_rng(2).random((3, 40)) - 0.5
    interval = Bootstrap().interval([values, -values])
    assert interval.low == pytest.approx(0, abs=1e-7)
    assert interval.high == pytest.approx(0, abs=1e-7)
