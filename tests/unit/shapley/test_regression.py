"""Regression values: by hand, against enumeration and plain least squares on the same rows, their draws and errors."""

from __future__ import annotations

import importlib
from math import comb

import numpy as np
import pytest
import torch

import shapprune
from shapprune import LayerGame, ShapPruneError, shapley
from shapprune.shapley.designs import SAMPLINGS, every_coalition, random_coalitions
from tests.toys import ConvNetwork, HandGame, MaxNetwork, images, labels, randomise, squared_error

POINTS = torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 2.0], [2.0, 1.0]])
# Paper B's code: ordinary least squares on sets of uniform size.
PAPER_B = {"sampling": "uniform", "weighting": "none", "constrained": False, "paired": False, "shared": True}


def conv_game(layer="features.4", count=6, hidden=8, **options):
    return LayerGame(randomise(ConvNetwork(hidden=hidden)), layer, images(count), labels(count), **options)


def third_order_game(units=8, seed=0):
    """All units, pairs and triples are worth a random number; the seed is that of the second example's too."""
    random = np.random.default_rng(seed)
    one, two, three = (torch.from_numpy(random.normal(size=(2,) + (units,) * order)) for order in (1, 2, 3))

    def worth(masks):
        return (
            torch.einsum("ei,cei->ce", one, masks)
            + torch.einsum("eij,cei,cej->ce", two, masks, masks)
            + torch.einsum("eijk,cei,cej,cek->ce", three, masks, masks, masks)
        )

    return HandGame(units, worth, examples=2)


class Recorded:
    """A game that keeps the coalitions it was asked for, and what they were worth."""

    def __init__(self, game, monkeypatch):
        self._rows, value = [], game.value

        def recorded(coalitions):
            worth = value(coalitions)
            self._rows.append((np.asarray(coalitions), worth.double().cpu().numpy()))
            return worth

        monkeypatch.setattr(game, "value", recorded)
        _ = game.full, game.empty
        self.examples = len(game)
        self._rows.clear()

    def rows(self):
        """Masks bool [C, N, n] and payoffs [C, N] of all proper coalitions so far."""
        masks = [kept if kept.ndim == 3 else np.repeat(kept[:, None], self.examples, axis=1) for kept, _ in self._rows]
        return np.concatenate(masks), np.concatenate([worth for _, worth in self._rows])


def off_a_constant(values):
    """Values less their mean over the units, [N, n]."""
    return values - values.mean(1, keepdims=True)


# By hand


def max_game():
    """The max network, and its Shapley values by hand.

    Unit i adds c_i to an output that is right, so v(S) = -(T - sum of c over S)^2 with T the sum of all c. Of a game in
    which no three units interact the value is the mean of the first and the last marginal contribution, here
    (2 T c_i - c_i^2 + c_i^2) / 2 = T c_i.
    """
    g = LayerGame(MaxNetwork(), "hidden", POINTS, POINTS.amax(1), payoff=squared_error)
    c = (g.activations * torch.tensor([1.0, 0.5, 0.5, 0.0])).double().numpy()
    return g, c * c.sum(1, keepdims=True)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_max_network_by_hand(sampling):
    g, hand = max_game()
    np.testing.assert_allclose(hand.mean(0), [0.375, 0.375, 1.75, 0])
    for options in ({}, {"shared": True}, {"coalitions": 14}):
        np.testing.assert_allclose(shapley.regression(g, sampling=sampling, **options).values, hand, atol=1e-6)


def test_pairs_are_exact_where_no_three_units_interact():
    # v(S) - v(complement of S) is linear in S then, so that a few pairs tell all.
    g, hand = max_game()
    s = shapley.regression(g, coalitions=12)
    assert s.draws is not None
    np.testing.assert_allclose(s.values, hand, atol=1e-5)
    assert s.standard_error().max() < 1e-5
    alone = shapley.regression(g, coalitions=12, paired=False).values
    assert abs(alone - hand).max() > 1e-2


def test_units_that_just_add_up():
    a = torch.linspace(-1, 1, 30, dtype=torch.float64)
    g = HandGame(30, lambda masks: 5 + masks @ a)
    for options in ({}, {"paired": False}, {"sampling": "kernel"}, {"sampling": "uniform"}, PAPER_B):
        values = shapley.regression(g, 100, **options).values
        np.testing.assert_allclose(values[0], a, atol=1e-9)


# All coalitions


@pytest.mark.parametrize("payoff", ["loss", "accuracy", "margin", squared_error])
def test_all_coalitions_equal_enumeration(payoff):
    g = conv_game(payoff=payoff)
    exact = shapley.exact(g).values
    for sampling in SAMPLINGS:
        for shared in (False, True):
            s = shapley.regression(g, 62, sampling=sampling, shared=shared)
            np.testing.assert_allclose(s.values, exact, atol=1e-6)
            assert s.draws is None
            assert not s.standard_error("mean+2std").any()
    free = shapley.regression(g, constrained=False).values.numpy()
    np.testing.assert_allclose(off_a_constant(free), off_a_constant(exact.numpy()), atol=1e-6)


def test_what_is_exact_on_a_game_of_third_order():
    # As found for the same kind of game by independent enumeration: the kernel with both ends is exact, without them
    # off by a constant; ordinary least squares is near, but not that.
    g = third_order_game()
    exact = shapley.exact(g).values.numpy()
    tied = shapley.regression(g).values.numpy()
    free = shapley.regression(g, constrained=False).values.numpy()
    plain = shapley.regression(g, **PAPER_B).values.numpy()
    np.testing.assert_allclose(tied, exact, atol=1e-9)
    np.testing.assert_allclose(off_a_constant(free), off_a_constant(exact), atol=1e-9)
    assert abs(free - exact).max() > 0.1
    assert abs(off_a_constant(plain) - off_a_constant(exact)).max() > 0.1
    assert np.corrcoef(plain[0], exact[0])[0, 1] > 0.95


@pytest.mark.parametrize("weighting", ["kernel", "none"])
def test_all_coalitions_against_plain_least_squares(weighting):
    g = third_order_game(5)
    masks = (np.arange(1, 31)[:, None] >> np.arange(5)) & 1
    sizes = masks.sum(1)
    weights = np.ones(30) if weighting == "none" else 4 / ([comb(5, s) for s in sizes] * sizes * (5 - sizes))
    rows = np.hstack([masks, np.ones((30, 1))]) * np.sqrt(weights)[:, None]
    worth = g.value(masks > 0).numpy() * np.sqrt(weights)[:, None]
    expected = np.linalg.lstsq(rows, worth, rcond=None)[0][:5].T
    found = shapley.regression(g, sampling="leverage", weighting=weighting, constrained=False).values
    np.testing.assert_allclose(found, expected, atol=1e-9)
    # Draws by the kernel that repeat themselves tend to the kernel under either weighting.
    kernel, none = (shapley.regression(g, sampling="kernel", weighting=each).values for each in ("kernel", "none"))
    assert torch.equal(kernel, none)


# Drawn coalitions, against least squares on the rows themselves


@pytest.mark.parametrize("coalitions", [5, 9, 40])
@pytest.mark.parametrize("shared", [False, True])
def test_constrained_draws_against_plain_least_squares(coalitions, shared, monkeypatch):
    g = conv_game()
    rows = Recorded(g, monkeypatch)
    s = shapley.regression(g, coalitions, sampling="kernel", paired=False, shared=shared)
    masks, worth = rows.rows()
    full, empty = g.full.double().numpy(), g.empty.double().numpy()
    plane = np.eye(6) - 1 / 6
    for e in range(len(g)):
        rest = worth[:, e] - empty[e] - (full - empty)[e] / 6 * masks[:, e].sum(1)
        z = np.linalg.lstsq(masks[:, e] @ plane, rest, rcond=1e-9)[0]  # of least norm where there are few rows
        np.testing.assert_allclose(s.values[e], (full - empty)[e] / 6 + z, atol=2e-6)
    np.testing.assert_allclose(s.values.sum(1), full - empty, atol=1e-6)


@pytest.mark.parametrize("coalitions", [4, 10, 50])
def test_paper_b_against_plain_least_squares(coalitions, monkeypatch):
    g = conv_game(payoff="accuracy", count=20)
    rows = Recorded(g, monkeypatch)
    s = shapley.regression(g, coalitions, **PAPER_B)
    masks, worth = rows.rows()
    assert (masks == masks[:, :1]).all()
    _, different = np.unique(masks[:, 0], axis=0, return_index=True)  # duplicates collapse, as in a dictionary
    assert coalitions < 50 or len(different) < coalitions
    x, y = masks[different, 0].astype(float), worth[different]
    expected = np.linalg.lstsq(x - x.mean(0), y - y.mean(0), rcond=1e-9)[0].T
    np.testing.assert_allclose(s.values, expected, atol=2e-6)
    # The regression of the mean payoff is the mean of those of the examples.
    np.testing.assert_allclose(s.aggregate(), expected.mean(0), atol=2e-6)


@pytest.mark.parametrize("coalitions", [12, 60])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(("l1", "l2"), [(0.003, 0.0), (0.003, 0.02), (0.0, 0.02), (10.0, 0.0)])
def test_penalties_against_scikit_learn(coalitions, shared, l1, l2, monkeypatch):
    linear_model = pytest.importorskip("sklearn.linear_model")
    g = conv_game("fc")
    rows = Recorded(g, monkeypatch)
    options = {"sampling": "kernel", "paired": False, "constrained": False}
    s = shapley.regression(g, coalitions, shared=shared, l1=l1, l2=l2, **options)
    masks, worth = rows.rows()
    for e in range(len(g)):
        # 1 / (2 C) sum of squares + alpha (ratio sum |phi| + (1 - ratio) / 2 sum phi^2)
        if l1:
            model = linear_model.ElasticNet(alpha=l1 + l2, l1_ratio=l1 / (l1 + l2), tol=1e-12, max_iter=1_000_000)
        else:
            model = linear_model.Ridge(alpha=l2 * coalitions, tol=1e-12)
        model.fit(masks[:, e].astype(float), worth[:, e])
        np.testing.assert_allclose(s.values[e], model.coef_, atol=3e-6)
    assert (s.values == 0).any() == (l1 > 0)
    assert s.standard_error().isfinite().all()


def test_a_ridge_keeps_the_sum_and_pulls_towards_the_mean():
    g = conv_game()
    values = [shapley.regression(g, 40, l2=l2).values for l2 in (0.0, 0.05, 1e6)]
    for each in values:
        np.testing.assert_allclose(each.sum(1), (g.full - g.empty).double(), atol=1e-6)
    spread = [float(each.std(1).mean()) for each in values]
    assert spread[0] > spread[1] > spread[2]
    np.testing.assert_allclose(values[2], ((g.full - g.empty) / 6)[:, None].expand(-1, 6), atol=1e-5)


def test_a_lasso_that_does_not_settle_is_said(monkeypatch):
    module = importlib.import_module("shapprune.shapley.least_squares")
    monkeypatch.setattr(module, "_MOST_STEPS", 30)
    with pytest.warns(UserWarning, match=r"the lasso with l1 = 0.0001 is off by .* after 30 steps"):
        shapley.regression(conv_game("fc"), 6, constrained=False, paired=False, l1=1e-4)


# Properties


def test_null_player_and_symmetry():
    def worth(masks):  # 0 and 1 are alike, 2 does nothing
        return masks[..., 0] * masks[..., 1] + torch.sin(3 * (masks[..., 0] + masks[..., 1]) + masks[..., 3:].sum(2))

    g = HandGame(6, worth)
    values = shapley.regression(g).values[0].tolist()
    assert values[2] == pytest.approx(0, abs=1e-9)
    assert values[0] == pytest.approx(values[1], abs=1e-9)
    values = shapley.regression(g, constrained=False).values[0].tolist()
    assert values[0] == pytest.approx(values[1], abs=1e-9)


@pytest.mark.parametrize("options", [{}, {"paired": False}, {"sampling": "uniform"}, {"shared": True}, {"l2": 0.1}])
@pytest.mark.parametrize("coalitions", [2, 7, 40])
def test_efficiency_for_each_example(options, coalitions):
    g = conv_game()
    s = shapley.regression(g, coalitions, **options)
    np.testing.assert_allclose(s.values.sum(1), (g.full - g.empty).double(), atol=1e-6)
    if s.draws is not None and len(s.draws) > 1:
        np.testing.assert_allclose(s.draws.double().mean(0), s.values, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"sampling": "uniform", "paired": False, "constrained": False}, PAPER_B])
def test_parts_merge_to_the_whole_and_chunks_change_nothing(options, monkeypatch):
    g = conv_game("fc", count=9)
    whole = shapley.regression(g, 50, seed=2, **options)
    assert torch.equal(shapley.regression(g, 50, seed=2, **options).values, whole.values)
    assert not np.allclose(shapley.regression(g, 50, seed=3, **options).values, whole.values, atol=1e-4)
    parts = []
    for part in (slice(0, 2), slice(2, 9)):
        some = LayerGame(g.model, g.layer, g.images[part], g.labels[part], examples=np.arange(9)[part])
        parts.append(shapley.regression(some, 50, seed=2, **options))
    merged = shapley.merge(parts)
    np.testing.assert_allclose(merged.values, whole.values, atol=1e-5)
    for how in ("mean", "mean+2std"):
        np.testing.assert_allclose(merged.standard_error(how), whole.standard_error(how), atol=1e-5)
    module = importlib.import_module("shapprune.shapley.regression")
    for name, value in (("_CHUNK", 7), ("_BYTES", 1), ("_NUMBERS", 100)):
        monkeypatch.setattr(module, name, value)
    pieces = shapley.regression(g, 50, seed=2, **options)
    np.testing.assert_allclose(pieces.values, whole.values, atol=1e-5)
    np.testing.assert_allclose(pieces.draws, whole.draws, atol=1e-4)


def test_each_example_has_coalitions_of_its_own(monkeypatch):
    g = conv_game("fc")
    rows = Recorded(g, monkeypatch)
    shapley.regression(g, 30)
    own, _ = rows.rows()
    assert own.shape == (30, 6, 8)
    assert (own[0::2] == ~own[1::2]).all()
    assert (own != own[:, :1]).any()


def test_evaluations_are_what_was_run():
    for shared in (False, True):
        g = conv_game()
        assert shapley.regression(g, 41, shared=shared).evaluations == 40 + 2
        assert shapley.regression(g, 41, shared=shared, paired=False).evaluations == 41  # both ends are known by now
        assert shapley.regression(conv_game(), 41, constrained=False, shared=shared).evaluations == 40
    assert shapley.regression(conv_game()).evaluations == 64


def test_one_unit_and_two():
    for options in ({}, {"constrained": False}, {"shared": True}, {"sampling": "uniform", "paired": False}):
        one = LayerGame(randomise(ConvNetwork(hidden=1)), "fc", images(3), labels(3))
        s = shapley.regression(one, **options)
        np.testing.assert_allclose(s.values[:, 0], one.full - one.empty, atol=1e-7)
        assert s.evaluations == 2
        assert s.draws is None
    two = LayerGame(randomise(ConvNetwork(hidden=2)), "fc", images(3), labels(3))
    exact = shapley.exact(two).values
    np.testing.assert_allclose(shapley.regression(two, 2).values, exact, atol=1e-6)
    single = shapley.regression(two, 1, paired=False)
    assert single.standard_error().isnan().all()
    np.testing.assert_allclose(single.values.sum(1), exact.sum(1), atol=1e-6)


def test_more_units_than_coalitions():
    a = torch.linspace(-1, 1, 512, dtype=torch.float64)
    g = HandGame(512, lambda masks: masks @ a, examples=2)
    for sampling in SAMPLINGS:
        s = shapley.regression(g, 40, sampling=sampling)
        np.testing.assert_allclose(s.values.sum(1), 0, atol=1e-9)
        assert s.values.isfinite().all()
        assert s.draws.shape == (10, 2, 512)
        # What 20 pairs see of 512 numbers: their projection, a share of 20 / 511 of the sum of squares
        share = (s.values**2).sum(1) / (a**2).sum()
        assert ((share > 0.005) & (share < 0.15)).all()


# What is drawn


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


# Errors


@pytest.mark.parametrize("how", ["mean", "mean+2std"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"shared": True},
        {"sampling": "kernel"},
        {"sampling": "uniform", "paired": False},
        PAPER_B,
        {"constrained": False, "l1": 0.003},
    ],
)
def test_standard_error_is_the_spread_of_repetitions(how, options):
    g = conv_game("fc", count=15)
    runs = [shapley.regression(g, 80, seed=seed, **options) for seed in range(20)]
    spread = torch.stack([run.aggregate(how) for run in runs]).std(0)
    told = torch.stack([run.standard_error(how) for run in runs]).square().mean(0).sqrt()
    # The spread of 20 runs is itself known to 16 %. A group left out costs more than its share, so the told error is
    # rather too large. Units that a lasso always leaves at 0 have neither.
    assert 0.6 < (told / spread).nanmedian() < 2


def test_draws_tell_what_is_undecided():
    g = conv_game("fc", count=15)
    few, many = (shapley.regression(g, coalitions) for coalitions in (20, 200))
    assert few.draws.shape == (10, 15, 8)
    assert shapley.regression(g, 6).draws.shape == (3, 15, 8)
    assert few.undecided(0.5).sum() >= many.undecided(0.5).sum()
    assert shapley.regression(g, 2).undecided(0.5).all()  # one pair tells nothing
    assert not shapley.regression(g).undecided(0.5).any()


def test_pairs_and_leverage_pay():
    g = conv_game("fc", count=20)
    exact = shapley.exact(g).values

    def error(**options):
        runs = [shapley.regression(g, 60, seed=seed, **options).values - exact for seed in range(10)]
        return float(torch.stack(runs).square().mean())

    leverage = error()
    assert leverage < error(sampling="uniform") < error(sampling="kernel")
    assert leverage < error(paired=False) / 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"coalitions": 1}, "coalitions = 1, at least 2 are needed"),
        ({"coalitions": 0, "paired": False}, "coalitions = 0, at least 1 is needed"),
        ({"sampling": "levrage"}, "unknown sampling 'levrage'; did you mean 'leverage'"),
        ({"weighting": "shapley"}, "unknown weighting 'shapley'"),
        ({"l1": 0.1}, "l1 = 0.1 needs constrained: false"),
        ({"l2": -1.0}, "l2 = -1.0 is below 0"),
        ({"l1": -1.0, "constrained": False}, "l1 = -1.0 is below 0"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(ShapPruneError, match=message):
        shapley.regression(conv_game(), **options)


def test_options_in_a_configuration():
    assert shapprune.score(conv_game(), "regression", coalitions=20, seed=3).criterion == "regression"
    same = shapley.regression(conv_game(), 20, seed=3)
    assert torch.equal(shapprune.score(conv_game(), "regression", coalitions=20, seed=3).values, same.values)
    with pytest.raises(ShapPruneError, match="'levrage' is not one of uniform, kernel, leverage"):
        shapprune.score(conv_game(), "regression", sampling="levrage")
    with pytest.raises(ShapPruneError, match="0 is below 1"):
        shapprune.score(conv_game(), "regression", coalitions=0)
    with pytest.raises(ShapPruneError, match=r"not finite"):
        shapprune.score(conv_game(payoff=lambda outputs, labels: outputs[:, 0] / 0), "regression")
