"""Estimators: hand-computed games, then the properties that define Shapley values."""

from __future__ import annotations

from itertools import permutations as all_orders

import numpy as np
import pytest
import torch

import shapprune
from shapprune import LayerGame, ShapPruneError, oracle, shapley
from shapprune.criteria.catalog import CATALOG
from shapprune.shapley.enumeration import kept_units
from tests.toys import ConvNetwork, MaxNetwork, images, labels, randomise, squared_error

POINTS = torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 2.0], [2.0, 1.0]])


def max_game(x=POINTS):
    return LayerGame(MaxNetwork(), "hidden", x, x.amax(1), payoff=squared_error)


def conv_game(layer="features.4", count=6, **options):
    return LayerGame(randomise(ConvNetwork()), layer, images(count), labels(count), **options)


def test_max_network_on_four_points():
    values = shapley.exact(max_game()).aggregate("mean")
    np.testing.assert_allclose(values, [0.375, 0.375, 1.75, 0], atol=1e-6)


def test_max_network_on_the_square():
    # The payoff is a polynomial of degree 2 on either side of the diagonal. The mid-point rule on k x k cells is off
    # by O(1 / k^2), and the cells on the diagonal by no more: 400 points a side leave an error below 1e-3.
    k = 400
    grid = (torch.arange(k) + 0.5) * 10 / k
    x = torch.cartesian_prod(grid, grid)
    values = shapley.exact(max_game(x)).aggregate("mean")
    np.testing.assert_allclose(values, [6.25, 6.25, 37.5, 0], atol=2e-3)
    assert values.sum() == pytest.approx(50, abs=2e-3)


def test_heuristics_on_the_max_network():
    g = max_game()
    np.testing.assert_allclose(shapprune.score(g, "weight-norm").aggregate(), [1, 2, 2, 2])
    np.testing.assert_allclose(shapprune.score(g, "weight_norm", norm="l2").aggregate() ** 2, [0.5, 2, 2, 2])
    np.testing.assert_allclose(shapprune.score(g, "apoz").aggregate(), [0.5, 0.5, 1, 1])
    np.testing.assert_allclose(shapprune.score(g, "sensitivity").aggregate(), [0, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(shapprune.score(g, "taylor").aggregate(), [0, 0, 0, 0], atol=1e-6)
    contributions = g.activations * torch.tensor([1.0, 0.5, 0.5, 0.0])
    np.testing.assert_allclose(shapprune.score(g, "leave-one-out").values, contributions**2, atol=1e-6)


def test_gradient_criteria_where_the_loss_is_not_zero():
    # With outgoing weight -0.1 for the last unit the outputs are y - 0.1 (x1 + x2), the error e = -0.1 (x1 + x2),
    # the gradient of the loss in the output 2 e, and in unit i 2 e w_i.
    model = MaxNetwork()
    with torch.no_grad():
        model.output.weight[0, 3] = -0.1
    g = LayerGame(model, "hidden", POINTS, POINTS.amax(1), payoff=squared_error)
    in_output = 2 * 0.1 * POINTS.sum(1)
    weights = torch.tensor([1.0, 0.5, 0.5, 0.1])
    np.testing.assert_allclose(shapprune.score(g, "sensitivity").values, in_output[:, None] * weights, rtol=1e-5)
    taylor = in_output[:, None] * torch.tensor([1.0, 0.5, 0.5, -0.1]) * g.activations
    np.testing.assert_allclose(shapprune.score(g, "taylor", signed=True).values, taylor, atol=1e-6)
    np.testing.assert_allclose(shapprune.score(g, "taylor").values, taylor.abs(), atol=1e-6)
    assert shapprune.score(g, "sensitivity").aggregate().tolist() == pytest.approx([0.4, 0.2, 0.2, 0.04])


def test_exact_is_the_mean_over_all_orders():
    g = conv_game("features.0")
    every = np.array(list(all_orders(range(4))))
    walked = shapley.permutation(g, orders=every)
    np.testing.assert_allclose(shapley.exact(g).values, walked.values, atol=1e-6)


def test_exact_equals_the_coalition_table():
    g = conv_game()
    table = oracle.coalition_table(g)
    np.testing.assert_allclose(oracle.shapley_values(table), shapley.exact(g).aggregate(), atol=1e-7)
    assert oracle.shapley_values(table).sum() == pytest.approx(table[-1] - table[0])


@pytest.mark.parametrize("options", [{"shared": True}, {"shared": False}, {"antithetic": True}])
@pytest.mark.parametrize("k", [1, 2, 3, 7])
def test_efficiency_for_each_example(options, k):
    g = conv_game()
    s = shapley.permutation(g, permutations=k, **options)
    # float32 payoffs of a few units, summed over 6 steps: 1e-5 is ten times their rounding error
    np.testing.assert_allclose(s.values.sum(1), (g.full - g.empty).double(), atol=1e-5)


@pytest.mark.parametrize(
    "criterion", ["exact", "permutation", "coalition-gradient", "path-gradient", "leave-one-out", "taylor"]
)
def test_null_player_and_symmetry(criterion):
    model = randomise(ConvNetwork())
    with torch.no_grad():
        model.fc.weight[:, 2 * 4 : 3 * 4] = 0  # channel 2 of the second convolution is not read: null
        for part in (model.features[4].weight, model.features[4].bias):
            part[1] = part[0]
        for part in (model.features[5].weight, model.features[5].bias, *model.features[5].buffers()):
            if part.dim():
                part[1] = part[0]
        model.fc.weight[:, 4:8] = model.fc.weight[:, 0:4]  # channels 0 and 1 are twins
    g = LayerGame(model, "features.4", images(6), labels(6))
    values = shapprune.score(g, criterion).values
    np.testing.assert_allclose(values[:, 2], 0, atol=1e-6)
    if criterion in ("exact", "path-gradient", "leave-one-out", "taylor"):
        np.testing.assert_allclose(values[:, 0], values[:, 1], atol=1e-5)


def test_permutation_converges_to_exact_within_its_standard_error():
    g = conv_game(count=20)
    exact = shapley.exact(g).aggregate()
    for shared in (True, False):
        s = shapley.permutation(g, permutations=200, shared=shared)
        error = (s.aggregate() - exact).abs() / s.standard_error()
        assert s.standard_error().min() > 0
        assert error.max() < 4.5  # 12 standard normal numbers, one in 10,000 such tests fails; the seed is fixed


def test_own_orders_beat_shared_orders():
    g = conv_game(count=40)
    exact = shapley.exact(g).aggregate()

    def error(shared):
        runs = [shapley.permutation(g, 2, shared=shared, seed=seed).aggregate() for seed in range(10)]
        return sum(float(((run - exact) ** 2).mean()) for run in runs)

    assert error(False) < error(True) / 4


def test_coalition_gradient_ranks_like_exact():
    g = conv_game(count=40)
    exact = shapley.exact(g).aggregate()
    s = shapley.coalition_gradient(g, points=64)
    assert np.corrcoef(s.aggregate(), exact)[0, 1] > 0.9
    assert s.evaluations == 3 * 64
    assert s.draws.shape == (32, 40, 6)


@pytest.mark.parametrize("layer", ["features.4", "fc"])
def test_walks_cut_short(layer):
    g = conv_game(layer)
    s = shapley.permutation(g, permutations=3, depth=0.5)
    whole = shapley.permutation(g, permutations=3)
    np.testing.assert_allclose(s.values.sum(1), (g.full - g.empty).double(), atol=1e-5)
    assert s.evaluations == 3 * (g.units // 2) + 2
    assert whole.evaluations == 3 * (g.units - 1)
    order = np.arange(g.units)[None]
    cut, full = (shapley.permutation(g, orders=order, depth=depth).values for depth in (0.5, 1.0))
    half = g.units // 2
    np.testing.assert_allclose(cut[:, :half], full[:, :half], atol=1e-6)  # what was walked is what it was
    np.testing.assert_allclose(cut[:, half:].std(1), 0, atol=1e-9)  # the others share


def test_shrinkage_lies_between_and_trusts_many_draws():
    g = conv_game(count=40)
    prior = shapley.path_gradient(g, points=8).values
    exact = shapley.exact(g).aggregate()
    for k in (1, 4, 64):
        s = shapley.shrunk(g, permutations=k, points=8)
        sampled = shapley.permutation(g, permutations=k, antithetic=True).values
        apart = sampled - prior
        trust = float(((s.values - prior) * apart).sum() / (apart * apart).sum())
        assert 0 <= trust <= 1
        assert torch.allclose(s.values, prior + trust * apart)
        if k == 64:
            worst = max(float(((each.mean(0) - exact) ** 2).mean()) for each in (prior, sampled))
            assert float(((s.aggregate() - exact) ** 2).mean()) <= worst
    assert shapley.shrunk(conv_game(), permutations=2, points=3).evaluations == 3 * 3 + 2 * 5 + 2


def test_range_and_pairs_of_coalitions():
    g = conv_game(count=30)
    seen = []
    gradient = g.gate_gradient
    g.gate_gradient = lambda gates: (seen.append(gates), gradient(gates))[1]
    shapley.coalition_gradient(g, points=8, low=0.5, high=1.0)
    share = seen[-1].mean(axis=(1, 2))
    assert (np.abs(share - (0.5 + (np.arange(8) + 0.5) / 16)) < 0.15).all()  # 180 draws a point: three deviations
    s = shapley.coalition_gradient(g, points=5, paired=True)
    assert (seen[-1][0] == ~seen[-1][1]).all()
    assert (seen[-1][2] == ~seen[-1][3]).all()
    assert s.draws.shape == (3, 30, 6)


def test_path_gradient_sums_to_the_payoff_and_draws_nothing():
    g = conv_game()
    s = shapley.path_gradient(g, points=400)
    # The mid-point rule on a piecewise smooth path: the error falls with the number of points.
    np.testing.assert_allclose(s.values.sum(1), (g.full - g.empty).double(), atol=5e-3)
    assert s.standard_error().abs().sum() == 0
    assert shapley.path_gradient(g, points=4).evaluations == 12


def test_orders_depend_on_seed_layer_example_and_draw_only():
    g = conv_game(count=6)
    whole = shapley.permutation(g, permutations=3, seed=5).values
    half = LayerGame(g.model, g.layer, g.images[3:], g.labels[3:], examples=np.arange(3, 6))
    np.testing.assert_allclose(shapley.permutation(half, permutations=3, seed=5).values, whole[3:], atol=1e-6)
    gradients = shapley.coalition_gradient(g, points=3, seed=5).values
    np.testing.assert_allclose(shapley.coalition_gradient(half, points=3, seed=5).values, gradients[3:], atol=1e-6)
    assert not np.allclose(shapley.permutation(g, permutations=3, seed=6).values, whole)
    assert torch.equal(shapley.permutation(g, permutations=3, seed=5).values, whole)


def test_antithetic_walks_each_order_back():
    g = conv_game()
    order = np.array([[3, 1, 0, 2, 5, 4]])
    pair = shapley.permutation(g, orders=np.concatenate([order, order[:, ::-1]]))
    both = [shapley.permutation(g, orders=one).values for one in (order, order[:, ::-1].copy())]
    np.testing.assert_allclose(pair.values, (both[0] + both[1]) / 2, atol=1e-6)
    s = shapley.permutation(g, permutations=5, antithetic=True)
    assert s.draws.shape == (3, 6, 6)  # two pairs and a single order
    assert shapley.permutation(g, permutations=80).draws.shape == (32, 6, 6)


def test_evaluations_are_what_was_run():
    g = conv_game()
    assert shapley.permutation(g, permutations=3).evaluations == 3 * 5 + 2
    assert shapley.permutation(g, permutations=3).evaluations == 3 * 5  # both ends are known by now
    assert shapprune.score(conv_game(), "leave-one-out").evaluations == 7
    assert shapley.exact(conv_game()).evaluations == 64
    assert shapprune.score(conv_game(), "taylor").evaluations == 3


def test_aggregates():
    s = shapley.permutation(conv_game(), permutations=2)
    values = s.values.numpy()
    np.testing.assert_allclose(s.aggregate("mean"), values.mean(0))
    np.testing.assert_allclose(s.aggregate("mean+2std"), values.mean(0) + 2 * values.std(0))
    np.testing.assert_allclose(s.aggregate("mean+0.5std"), values.mean(0) + 0.5 * values.std(0))
    np.testing.assert_allclose(s.aggregate("abs"), abs(values).mean(0))
    np.testing.assert_allclose(s.aggregate("p97.7"), np.percentile(values, 97.7, axis=0))
    np.testing.assert_allclose(s.aggregate(lambda v: v.amax(0)), values.max(0))
    for wrong in ("median", "mean+std", "p101", "mean+2stdx"):
        with pytest.raises(ShapPruneError, match="unknown aggregate"):
            s.aggregate(wrong)


def test_standard_error_of_what_is_not_drawn_is_zero():
    assert shapley.exact(conv_game()).standard_error().abs().sum() == 0
    assert shapley.permutation(conv_game(), permutations=1).standard_error().isnan().all()


@pytest.mark.parametrize("how", ["mean", "mean+2std", "abs"])
def test_standard_error_is_the_spread_of_repetitions(how):
    g = conv_game(count=25)
    for options in ({"shared": True}, {}, {"antithetic": True}):
        runs = [shapley.permutation(g, permutations=32, seed=seed, **options) for seed in range(40)]
        spread = torch.stack([run.aggregate(how) for run in runs]).std(0)
        told = torch.stack([run.standard_error(how) for run in runs]).pow(2).mean(0).sqrt()
        # The spread of 40 runs is itself known to 1 / sqrt(80) = 11 %, and the linearisation is a first order.
        ratio = (told / spread).numpy()
        assert 0.7 < np.median(ratio) < 1.4, (options, ratio)


def test_draws_stop_when_all_is_decided():
    g = conv_game(count=20)
    s = shapley.permutation(g, permutations=1000, settle=[0.5])
    assert s.settled is True
    assert 2 * 5 <= s.evaluations < 1000 * 5
    assert not s.undecided(0.5).any()
    few = shapley.permutation(g, permutations=1, settle=[0.5])
    assert few.settled is False
    assert shapley.permutation(g, permutations=2).settled is None
    more = shapley.permutation(g, permutations=1000, settle=[0.2, 0.5], settle_by="mean+2std")
    assert any(more.undecided(ratio, "mean+2std").any() for ratio in (0.2, 0.5)) != more.settled


def test_undecided_units_are_those_near_the_cut():
    g = conv_game(count=20)
    few, many = (shapley.permutation(g, permutations=k) for k in (2, 400))
    assert few.undecided(0.5).sum() >= many.undecided(0.5).sum()
    assert not shapley.exact(g).undecided(0.5).any()
    assert shapley.permutation(g, permutations=1).undecided(0.5).all()  # one draw tells nothing
    assert not many.undecided(0.1).any()  # no unit leaves
    noise = torch.from_numpy(np.random.default_rng(0).normal(size=(10, 1, 4)) * 0.1).float()
    scores = shapprune.UnitScores((noise + torch.tensor([0.0, 1.0, 1.02, 3.0])).mean(0), "x", 0, 0, noise)
    assert scores.undecided(0.5).tolist() == [False, True, True, False]
    with pytest.raises(ShapPruneError, match="strictly between 0 and 1"):
        many.undecided(1.0)


def test_random_state_is_untouched():
    g = conv_game()
    before, state = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    for criterion in ("random", "permutation", "coalition-gradient"):
        shapprune.score(g, criterion, seed=3)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), state)


def test_kept_units_follow_the_bits():
    assert kept_units([0, 1, 6], 3).tolist() == [[False] * 3, [True, False, False], [False, True, True]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g: shapley.permutation(g, permutations=0), "permutations = 0"),
        (lambda g: shapley.permutation(g, orders=np.array([[0, 0, 1, 2, 3, 4]])), "no removal orders of 6 units"),
        (lambda g: shapley.coalition_gradient(g, points=0), "points = 0"),
        (lambda g: shapley.path_gradient(g, points=0), "points = 0"),
        (lambda g: shapley.permutation(g, depth=0.0), "depth 0.0"),
        (lambda g: shapley.coalition_gradient(g, low=0.5, high=0.5), "from 0.5 to 0.5"),
        (lambda g: shapley.coalition_gradient(g, low=0.5, paired=True), "paired coalitions need all"),
        (lambda g: shapprune.score(g, "taylr"), "did you mean 'taylor'"),
        (lambda g: shapprune.score(g, "taylor", sign=True), "did you mean 'signed'"),
        (lambda g: shapprune.score(g, "permutation", permutations=2.5), "2.5 is not of type int"),
        (lambda g: shapprune.score(g, "permutation", settle=[1.5]), "1.5 is above 0.999"),
        (lambda g: shapprune.score(g, "permutation", settle=0.5), "0.5 is not of type list"),
        (lambda g: shapprune.score(g, "weight-norm", norm="l3"), "'l3' is not one of l1, l2"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ShapPruneError) as error:
        call(conv_game())
    assert message in str(error.value)


@pytest.mark.parametrize("criterion", list(CATALOG))
def test_one_unit_and_one_image(criterion):
    model = randomise(ConvNetwork(hidden=1))
    for layer, count in (("fc", 5), ("features.4", 1), ("fc", 1)):
        if CATALOG[criterion].batchnorm and layer == "fc":  # none follows it
            continue
        s = shapprune.score(LayerGame(model, layer, images(count), labels(count)), criterion)
        assert s.values.isfinite().all()
        assert s.aggregate("mean+2std").isfinite().all()
        assert sorted(s.order("mean+2std").tolist()) == list(range(s.values.shape[1]))


def fails_when_empty(outputs, labels):
    """A payoff that is not finite for networks that have lost much."""
    return torch.log(outputs[:, 0] - outputs.detach()[:, 0].median() + 0.01)


@pytest.mark.parametrize("criterion", ["exact", "permutation", "coalition-gradient", "leave-one-out", "shrunk"])
def test_a_payoff_that_is_not_finite_is_refused(criterion):
    g = conv_game(payoff=fails_when_empty)
    with pytest.raises(ShapPruneError, match=r"of layer 'features.4'.*not finite"):
        shapprune.score(g, criterion)
    with pytest.raises(ShapPruneError, match="not finite"):
        oracle.coalition_table(g)


@pytest.mark.parametrize(
    ("criterion", "options"),
    [("permutation", {}), ("permutation", {"antithetic": True}), ("coalition-gradient", {}), ("taylor", {})],
)
def test_parts_merge_to_the_whole(criterion, options):
    g = conv_game(count=9)
    whole = shapprune.score(g, criterion, seed=2, **options)
    parts = []
    for part in (slice(0, 2), slice(2, 9)):
        some = LayerGame(g.model, g.layer, g.images[part], g.labels[part], examples=np.arange(9)[part])
        parts.append(shapprune.score(some, criterion, seed=2, **options))
    merged = shapley.merge(parts)
    np.testing.assert_allclose(merged.values, whole.values, atol=1e-6)
    np.testing.assert_allclose(merged.aggregate("mean+2std"), whole.aggregate("mean+2std"), atol=1e-6)
    np.testing.assert_allclose(merged.standard_error("mean+2std"), whole.standard_error("mean+2std"), atol=1e-6)
    with pytest.raises(ShapPruneError, match="cannot be merged"):
        shapley.merge([parts[0], shapprune.score(g, "apoz")])
