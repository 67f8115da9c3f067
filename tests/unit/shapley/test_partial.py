"""Partial values: by hand, against their definition, and exact where all sizes count."""

from __future__ import annotations

import importlib
from itertools import combinations
from math import comb, factorial

import numpy as np
import pytest
import torch

import shapprune
from benchmarks.max_network import MaxNetwork, squared_error
from shapprune import LayerGame, ShapPruneError, oracle, shapley
from tests.games import POINTS, conv_game
from tests.toys import ConvNetwork, HandGame, images, labels, randomise


def test_max_network_by_hand():
    # Unit i adds c_i to an output that is right, so that v(S) = -(T - sum of c over S)^2 with T the sum of all c.
    g = LayerGame(MaxNetwork(), "hidden", POINTS, POINTS.amax(1), payoff=squared_error)
    c = (g.activations * torch.tensor([1.0, 0.5, 0.5, 0.0])).double().numpy()
    total = c.sum(1, keepdims=True)
    last = c**2 / 4  # [v(all) - v(all but i)] / 4
    # [v(all but j) - v(all but i and j)] 2! 1! / 4! = (c_i^2 + 2 c_i c_j) / 12, summed over the three others j
    before = (3 * c**2 + 2 * c * (total - c)) / 12
    first = (2 * total * c - c**2) / 4  # [v(i) - v(none)] / 4
    for options, hand in (({}, last), ({"size": 2}, last + before), ({"end": "empty"}, first)):
        np.testing.assert_allclose(shapley.partial(g, **options).values, hand, atol=1e-6)
    np.testing.assert_allclose(shapley.partial(g, 4).values, c * total, atol=1e-6)  # the Shapley value of this game


@pytest.mark.parametrize("size", [1, 2, 3, 5, 6])
@pytest.mark.parametrize("end", ["full", "empty"])
def test_definition_with_removal_sets(size, end):
    # phi_i = sum over removal sets R with i, |R| <= k, of (|R|-1)! (n-|R|)! / n! [v(without R\\{i}) - v(without R)]
    g = conv_game()
    n = g.units

    def worth(removed):
        kept = torch.ones(1, n, dtype=torch.bool)
        kept[0, list(removed)] = False
        return g.value(kept)[0].double()

    expected = torch.zeros(len(g), n, dtype=torch.float64)
    for r in range(1, n + 1):
        if not (r <= size if end == "full" else r > n - size):
            continue
        for removed in combinations(range(n), r):
            for i in removed:
                weight = factorial(r - 1) * factorial(n - r) / factorial(n)
                expected[:, i] += weight * (worth(set(removed) - {i}) - worth(removed))
    before = g.evaluations
    s = shapley.partial(g, size, end)
    np.testing.assert_allclose(s.values, expected, atol=1e-6)  # float32 payoffs
    assert s.criterion == "partial"
    assert s.values.dtype == torch.float64
    assert s.standard_error().abs().sum() == 0
    assert g.evaluations - before == s.evaluations == sum(comb(n, r) for r in range(size + 1))
    np.testing.assert_allclose(oracle.partial_values(oracle.coalition_table(g), size, end), s.aggregate(), atol=1e-6)


def test_one_unit_from_the_full_end_is_leave_one_out():
    g = conv_game("fc")
    left_out = shapprune.score(g, "leave-one-out").values.double()
    np.testing.assert_allclose(shapprune.score(g, "partial").values * g.units, left_out, atol=1e-6)


@pytest.mark.parametrize("payoff", ["loss", "accuracy", "margin", squared_error])
@pytest.mark.parametrize("end", ["full", "empty"])
def test_all_sizes_are_exact(payoff, end):
    g = conv_game(payoff=payoff)
    exact = shapley.exact(g).values
    np.testing.assert_allclose(exact.sum(1), (g.full - g.empty).double(), atol=1e-5)
    for size in (6, 9):
        assert torch.equal(shapley.partial(g, size, end).values, exact)


def test_null_player_and_symmetry():
    def worth(masks):  # 0 and 1 are alike, 2 does nothing
        return masks[..., 0] * masks[..., 1] + torch.sin(3 * (masks[..., 0] + masks[..., 1]) + masks[..., 3:].sum(2))

    g = HandGame(6, worth)
    for end in ("full", "empty"):
        values = shapley.partial(g, 3, end).values[0].tolist()
        assert values[2] == pytest.approx(0, abs=1e-12)
        assert values[0] == pytest.approx(values[1], abs=1e-12)
        assert values[0] != pytest.approx(values[3], abs=1e-2)


@pytest.mark.parametrize(("units", "size"), [(200, 2), (512, 1), (1500, 1)])
@pytest.mark.parametrize("end", ["full", "empty"])
def test_wide_layers(units, size, end):
    # Where units just add up, each of the k sizes gives a_i / n: the weights of the C(n-1, s) marginals of a size sum
    # to 1 / n.
    a = torch.linspace(-1, 1, units, dtype=torch.float64)
    s = shapley.partial(HandGame(units, lambda masks: masks @ a), size, end)
    np.testing.assert_allclose(s.values[0], a * size / units, rtol=1e-9, atol=1e-12)


def test_splitting_and_chunks_change_nothing(monkeypatch):
    g = conv_game(count=9)
    whole = shapley.partial(g, 3)
    parts = [
        shapley.partial(LayerGame(g.model, g.layer, g.images[part], g.labels[part]), 3)
        for part in (slice(0, 2), slice(2, 9))
    ]
    np.testing.assert_allclose(shapley.merge(parts).values, whole.values, atol=1e-6)
    monkeypatch.setattr(importlib.import_module("shapprune.shapley.partial"), "_CHUNK", 5)
    np.testing.assert_allclose(shapley.partial(g, 3).values, whole.values, atol=1e-6)


def test_one_unit():
    g = LayerGame(randomise(ConvNetwork(hidden=1)), "fc", images(3), labels(3))
    for end in ("full", "empty"):
        np.testing.assert_allclose(shapley.partial(g, end=end).values[:, 0], g.full - g.empty, atol=1e-7)


@pytest.mark.parametrize(
    ("size", "end", "message"),
    [
        (0, "full", "option 'size' of partial: 0 is not at least 1"),
        (1, "middle", "option 'end' of partial: 'middle' is unknown; allowed: empty, full"),
        (6, "full", r"5\.6e\+7 coalitions of the 60 units of layer 'by hand' .* at most 2\^20"),
        (60, "empty", r"2\^60 coalitions of the 60 units"),
    ],
)
def test_bad_input(size, end, message):
    with pytest.raises(ShapPruneError, match=message):
        shapley.partial(HandGame(60, lambda masks: masks.sum(2)), size, end)


def test_options_in_a_configuration():
    assert shapprune.score(conv_game(), "partial", size=2, end="empty").criterion == "partial"
