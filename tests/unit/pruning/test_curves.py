"""Removal curves and the area under them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from shapprune import LayerGame, RemovalCurve, ShapPruneError, auc, removal_curve
from tests.toys import ConvNetwork, images, labels, randomise


def curve(loss, accuracy=None, layer="a"):
    return RemovalCurve(layer, np.array(loss, dtype=float), np.array(accuracy or [1] * len(loss), dtype=float))


def test_flat_curve_has_no_area():
    assert auc([curve([0.3, 0.3, 0.3])]) == 0


def test_area_by_hand():
    # layer a: rises 0, 1, 3 over 2 units; layer b: 0, 0, 0, 2 over 3 units; together 6 over 5 units
    a, b = curve([1, 2, 4], [1, 0.5, 0.5]), curve([1, 1, 1, 3], [1, 1, 1, 0], "b")
    assert auc([a]) == pytest.approx(4 / 2)
    assert auc([a, b]) == pytest.approx(6 / 5)
    assert auc([a, b], measure="accuracy") == pytest.approx(2 / 5)
    with pytest.raises(ShapPruneError, match="unknown measure 'margin'"):
        auc([a], measure="margin")


def test_area_between_points_is_that_of_straight_lines():
    few = RemovalCurve("a", np.array([1.0, 1, 3]), np.array([1.0, 1, 0]), np.array([0, 2, 6]))
    each = curve([1, 1, 1, 1.5, 2, 2.5, 3], [1, 1, 1, 0.75, 0.5, 0.25, 0])
    assert few.units == each.units == 6
    for measure in ("loss", "accuracy"):
        assert auc([few], measure) == pytest.approx(auc([each], measure))


def test_points_are_some_of_all():
    game = LayerGame(randomise(ConvNetwork()), "features.4", images(9), labels(9))
    order = [2, 0, 5, 1, 4, 3]
    whole, few = removal_curve(game, order), removal_curve(game, order, points=4)
    assert few.removed.tolist() == [0, 2, 4, 6]
    assert few.loss == pytest.approx(whole.loss[few.removed])
    assert few.accuracy == pytest.approx(whole.accuracy[few.removed])
    for many in (7, 100):
        assert removal_curve(game, order, points=many).removed.tolist() == [*range(7)]
    with pytest.raises(ShapPruneError, match="has 2 or more points, not 1"):
        removal_curve(game, order, points=1)


def test_curve_equals_values_along_the_order():
    game = LayerGame(randomise(ConvNetwork()), "features.4", images(9), labels(9))
    order = [2, 0, 5, 1, 4, 3]
    measured = removal_curve(game, order)
    assert measured.units == 6
    kept = torch.ones(6, dtype=torch.bool)
    for j in range(7):
        assert measured.loss[j] == pytest.approx(-float(game.value(kept[None]).mean()), abs=1e-5)
        if j < 6:
            kept[order[j]] = False
    right = game.model.eval()(game.images).argmax(1) == game.labels
    assert measured.accuracy[0] == pytest.approx(float(right.double().mean()))


@pytest.mark.parametrize("order", [[0, 1, 2], [0, 0, 1, 2, 3, 4], [1, 2, 3, 4, 5, 6]])
def test_orders_that_are_none(order):
    game = LayerGame(randomise(ConvNetwork()), "features.4", images(2), labels(2))
    with pytest.raises(ShapPruneError, match="holds each of the 6 units"):
        removal_curve(game, order)
