"""Games without a network: what follows from the value of coalitions, and the estimators on them."""

from __future__ import annotations

import torch

import shapprune
from shapprune import shapley
from shapprune.oracle import search_sets
from tests.toys import HandGame

WORTH = torch.tensor([3.0, -1.0, 0.5, 2.0]).double()


def additive():
    return HandGame(4, lambda masks: masks @ WORTH, examples=3)


def test_ends_and_walks_follow_from_the_value():
    game = additive()
    assert game.full.tolist() == [4.5] * 3
    assert game.empty.tolist() == [0.0] * 3
    orders = torch.tensor([[[0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 3, 2]], [[2, 3, 0, 1]] * 3])
    walked = game.walk(orders)
    assert walked.shape == (2, 5, 3)
    assert walked[0, :, 1].tolist() == [4.5, 2.5, 2.0, 3.0, 0.0]
    assert torch.equal(game.walk(orders, 2), walked[:, :3])
    assert game.evaluations == 2 + 2 * 5 + 2 * 3


def test_estimators_and_search_need_no_network():
    for scores in (
        shapley.exact(additive()),
        shapley.permutation(additive(), permutations=2),
        shapley.partial(additive(), size=4),
        shapley.regression(additive(), coalitions=14),
    ):
        torch.testing.assert_close(scores.aggregate("mean"), WORTH)
    assert shapprune.score(additive(), "random", seed=1).values.shape == (1, 4)
    assert [each.units for each in search_sets(additive(), budget=16)] == [(), (1,), (1, 2), (1, 2, 3), (0, 1, 2, 3)]
