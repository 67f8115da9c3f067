"""Regression values: by hand, against enumeration, and what is drawn for them."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch

import shapprune
from benchmarks.max_network import squared_error
from shapprune import LayerGame, ShapPruneError, shapley
from tests.games import PAPER_B, SAMPLINGS, Recorded, conv_game, max_game, third_order_game
from tests.toys import ConvNetwork, HandGame, images, labels, randomise


def off_a_constant(values):
    """Values less their mean over the units, [N, n]."""
    return values - values.mean(1, keepdims=True)


def solved_max_game():
    """The max network, and its Shapley values by hand.

    Unit i adds c_i to an output that is right, so v(S) = -(T - sum of c over S)^2 with T the sum of all c. Of a game in
    which no three units interact the value is the mean of the first and the last marginal contribution, here
    (2 T c_i - c_i^2 + c_i^2) / 2 = T c_i.
    """
    g = max_game()
    c = (g.activations * torch.tensor([1.0, 0.5, 0.5, 0.0])).double().numpy()
    return g, c * c.sum(1, keepdims=True)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_max_network_by_hand(sampling):
    g, hand = solved_max_game()
    np.testing.assert_allclose(hand.mean(0), [0.375, 0.375, 1.75, 0])
    for options in ({}, {"shared": True}, {"coalitions": 14}):
        np.testing.assert_allclose(shapley.regression(g, sampling=sampling, **options).values, hand, atol=1e-6)


def test_pairs_are_exact_where_no_three_units_interact():
    # v(S) - v(complement of S) is linear in S then, so that a few pairs tell all.
    g, hand = solved_max_game()
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
def test_standard_error_is_the_spread_of_repetitions(options):
    g = conv_game("fc", count=15)
    runs = [shapley.regression(g, 80, seed=seed, **options) for seed in range(20)]
    for how in ("mean", "mean+2std"):
        spread = torch.stack([run.aggregate(how) for run in runs]).std(0)
        told = torch.stack([run.standard_error(how) for run in runs]).square().mean(0).sqrt()
        # The spread of 20 runs is itself known to 16 %. A group left out costs more than its share, so the told error
        # is rather too large. Units that a lasso always leaves at 0 have neither.
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
        ({"coalitions": 0, "paired": False}, "option 'coalitions' of regression: 0 is not at least 1"),
        ({"sampling": "levrage"}, "'sampling' of regression: 'levrage' is unknown; did you mean 'leverage'"),
        ({"weighting": "shapley"}, "'weighting' of regression: 'shapley' is unknown; allowed: kernel, none"),
        ({"l1": 0.1}, "l1 = 0.1 needs constrained: false"),
        ({"l2": -1.0}, "'l2' of regression: -1.0 is not at least 0"),
        ({"l1": -1.0, "constrained": False}, "'l1' of regression: -1.0 is not at least 0"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(ShapPruneError, match=message):
        shapley.regression(conv_game(), **options)


def test_options_in_a_configuration():
    assert shapprune.score(conv_game(), "regression", coalitions=20, seed=3).criterion == "regression"
    same = shapley.regression(conv_game(), 20, seed=3)
    assert torch.equal(shapprune.score(conv_game(), "regression", coalitions=20, seed=3).values, same.values)
    with pytest.raises(ShapPruneError, match=r"not finite"):
        shapprune.score(conv_game(payoff=lambda outputs, labels: outputs[:, 0] / 0), "regression")
