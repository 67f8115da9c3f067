"""How many rows share a call: within the memory that there is, and without a trace in the results."""

from __future__ import annotations

import pytest
import torch

from shapprune import LayerGame, shapley
from shapprune.game.batching import Batching
from shapprune.game.masked import MaskedEntry
from shapprune.game.summed import SummedEntry
from shapprune.graph.layout import Layout
from shapprune.graph.unit_graph import UnitGraph
from shapprune.networks.builders import build
from tests.toys import ConvNetwork, images, labels, randomise
from tests.unit.game.entries import close, coalitions, watched


@pytest.mark.parametrize(("memory_mb", "passes"), [(0, 1), (1, 1), (1, 3), (512, 1)])
def test_pieces_hold_every_coalition_of_every_example_once(memory_mb, passes):
    graph = UnitGraph(randomise(ConvNetwork()), images(5))
    entry = MaskedEntry(graph, graph.site("features.0", "activation"), images(5), 5, Layout())
    batching = Batching(torch.device("cpu"), 5, memory_mb)
    seen = torch.zeros(9, 5, dtype=torch.int)
    for piece in batching.pieces(entry, 9, passes):
        seen[piece.coalitions, piece.examples] += 1
        rows = len(piece.prepared) * (piece.coalitions.stop - piece.coalitions.start)
        assert rows <= max(1, batching.rows(entry) // passes)
    assert (seen == 1).all()
    assert batching.rows(entry) == 1 or memory_mb


def test_memory_is_halved_down_to_one_row():
    batching = Batching(torch.device("cpu"), 5, memory_mb=1)
    assert batching.images(2**10) == 2**20 // (4 * 3 * 2**10)
    halvings = 0
    while batching.halve(2**10):
        halvings += 1
    assert halvings == 7  # 2^20 bytes / 2^7 are less than the 12 * 2^10 of one row
    assert batching.images(2**10) == 1


@pytest.mark.parametrize("memory_mb", [0, 1, 64])
def test_memory_changes_no_result(memory_mb):
    model = randomise(build("lenet5"))
    x, y = images(6, (1, 28, 28)), labels(6, 10)
    whole = shapley.permutation(LayerGame(model, "conv2", x, y), permutations=2).values
    close(shapley.permutation(LayerGame(model, "conv2", x, y, memory_mb=memory_mb), permutations=2).values, whole)


def test_out_of_memory_halves_the_calls(monkeypatch):
    g = LayerGame(randomise(ConvNetwork()), "features.4", images(5), labels(5), memory_mb=1)
    some = coalitions(7, g)
    expected, run = g.value(some), SummedEntry.run

    def scarce(self, entering, examples):
        if len(entering) > 3:
            raise torch.OutOfMemoryError("none left")
        return run(self, entering, examples)

    monkeypatch.setattr(SummedEntry, "run", scarce)
    close(g.value(some), expected)
    monkeypatch.undo()
    with watched() as calls:
        close(g.value(some), expected)
    assert max(rows for _, rows in calls) <= 3  # what was learnt stays
    monkeypatch.setattr(SummedEntry, "run", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("never enough")))
    with pytest.raises(torch.OutOfMemoryError):
        g.value(some)
