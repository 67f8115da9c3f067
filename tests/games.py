"""Games of layers of the toy networks, and one that keeps what it was asked."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.max_network import MaxNetwork, squared_error
from shapprune import LayerGame
from shapprune.criteria.catalog import CATALOG
from tests.toys import ConvNetwork, HandGame, images, labels, randomise

POINTS = torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 2.0], [2.0, 1.0]])


def max_game(x=POINTS):
    """The max network with the loss that it was made for; it is right, so its payoff is 0."""
    return LayerGame(MaxNetwork(), "hidden", x, x.amax(1), payoff=squared_error)


def conv_game(layer="features.4", count=6, hidden=8, **options):
    """A layer of the small convolutional network on random images."""
    return LayerGame(randomise(ConvNetwork(hidden=hidden)), layer, images(count), labels(count), **options)


SAMPLINGS = CATALOG["regression"].options["sampling"].choices
# Paper B's code: ordinary least squares on sets of uniform size.
PAPER_B = {"sampling": "uniform", "weighting": "none", "constrained": False, "paired": False, "shared": True}


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
