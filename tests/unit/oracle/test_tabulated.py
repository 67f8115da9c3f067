"""Games played from a table of all their coalitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import shapprune
from shapprune import LayerGame, ShapPruneError, removal_curve, shapley
from shapprune.game.engine import Entry
from shapprune.game.payoffs import margin
from shapprune.oracle.tabulated import TabulatedGame
from tests.toys import ConvNetwork, images, labels, randomise

ESTIMATORS = {
    "exact": {},
    "leave-one-out": {},
    "taylor": {},
    "permutation": {"permutations": 3},
    "coalition-gradient": {"points": 4},
    "shrunk": {"permutations": 2, "points": 2},
    "rescored": {"of": "permutation", "stages": 3, "options": {"permutations": 2}},
}


def conv_game(payoff="loss"):
    return LayerGame(randomise(ConvNetwork()), "features.4", images(7), labels(7), payoff=payoff)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_estimators_find_the_same(name):
    game, same = conv_game(), TabulatedGame(conv_game())
    expected, found = (shapprune.score(each, name, seed=1, **ESTIMATORS[name]) for each in (game, same))
    torch.testing.assert_close(found.values, expected.values, atol=1e-5, rtol=1e-4)
    assert found.evaluations == expected.evaluations


@pytest.mark.parametrize("payoff", ["loss", "margin", "accuracy"])
def test_values_walks_and_curves(payoff):
    game, same = conv_game(payoff), TabulatedGame(conv_game(payoff))
    random = np.random.default_rng(0)
    for shape in ((9, 6), (9, 7, 6)):
        kept = random.random(shape) < 0.5
        torch.testing.assert_close(same.value(kept), game.value(kept), atol=1e-5, rtol=1e-4)
    orders = torch.from_numpy(np.stack([[random.permutation(6) for _ in range(7)] for _ in range(3)]))
    for depth in (None, 2):
        torch.testing.assert_close(same.walk(orders, depth), game.walk(orders, depth), atol=1e-5, rtol=1e-4)
    one, other = (removal_curve(each, [3, 1, 0, 2, 5, 4]) for each in (game, same))
    np.testing.assert_allclose(one.loss, other.loss, atol=1e-5)
    np.testing.assert_array_equal(one.accuracy, other.accuracy)


def test_without_some_units():
    game, same = conv_game().without([1, 4]), TabulatedGame(conv_game()).without([1, 4])
    torch.testing.assert_close(same.full, game.full, atol=1e-5, rtol=1e-4)
    expected, found = (shapley.permutation(each, permutations=2) for each in (game, same))
    torch.testing.assert_close(found.values, expected.values, atol=1e-5, rtol=1e-4)
    assert found.values[:, [1, 4]].abs().max() == 0


def test_fresh_games_and_those_without_units_are_tabulated_too(monkeypatch):
    same = TabulatedGame(conv_game())
    expected = same.full
    monkeypatch.setattr(Entry, "run", lambda *_: pytest.fail("the network is run"))
    fresh, left = same.fresh(), same.without([1])
    assert torch.equal(fresh.full, expected)
    assert (fresh.evaluations, same.evaluations) == (1, 1)
    assert not torch.equal(left.full, expected)
    assert left.evaluations == same.evaluations == 2


def test_other_payoffs_are_refused():
    with pytest.raises(ShapPruneError, match=r"the table of layer 'features.4' has no values of payoff"):
        TabulatedGame(conv_game()).values_by(torch.ones(1, 6, dtype=torch.bool), [margin])
