"""Networks cut in two: both parts together are the network, and each value crosses the cut once."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch

from shapprune import ShapPruneError
from shapprune.graph.cut import cut_at, ignore_sizes, node_shapes
from shapprune.graph.tracing import trace
from tests.toys import ConvNetwork, ResidualNetwork, images, randomise


@pytest.mark.parametrize(
    ("make", "crossings"), [(ConvNetwork, {0}), (ResidualNetwork, {0, 1})], ids=["chain", "residual"]
)
@torch.no_grad()
def test_the_parts_are_the_network_wherever_it_is_cut(make, crossings):
    model = randomise(make()).eval()
    x = images(3)
    traced = trace(model)
    shapes, outputs = node_shapes(traced, x)
    assert torch.equal(outputs, model(x))
    found = set()
    for node in shapes:
        if node.op in ("placeholder", "output", "get_attr"):
            continue
        cut = cut_at(traced, node)
        at_cut, *beside = cut.before(x)
        assert at_cut.shape == shapes[node]
        assert len(beside) == cut.crossing
        found.add(cut.crossing)
        torch.testing.assert_close(cut.after(at_cut, *beside), outputs)
    assert found == crossings


def test_users_that_only_ask_for_the_size():
    traced = trace(ConvNetwork())
    pooled = next(node for node in traced.graph.nodes if node.target == "features.7")
    assert [node.name for node in pooled.users] == ["size", "view"]
    assert [node.name for node in ignore_sizes(pooled.users)] == ["view"]


def test_images_that_do_not_fit_are_refused():
    with pytest.raises(ShapPruneError, match=r"the network fails on images of shape \(2, 3, 8, 8\)"):
        node_shapes(trace(ConvNetwork()), images(2, (3, 8, 8)))


class Constant(ConvNetwork):
    """A tensor that is neither a parameter nor a buffer."""

    def __init__(self):
        super().__init__()
        self.shift = [torch.ones(1)]

    def forward(self, x):
        return super().forward(x + self.shift[0])


def test_tensors_that_are_no_state_are_kept_by_the_graph_alone():
    model = Constant().eval()
    known = set(vars(model)) | set(model.state_dict())
    traced = trace(model)
    assert set(vars(model)) | set(model.state_dict()) == known
    torch.testing.assert_close(traced(images(2)), model(images(2)))


def test_what_is_cut_leaves_memory_at_once():
    traced = trace(randomise(ConvNetwork()))
    relu = next(node for node in traced.graph.nodes if node.target == "features.2")
    gc.disable()  # cycles would stay, with what is prepared for each layer of a large network
    try:
        cut = cut_at(traced, relu)
        cut.after(*cut.before(images(2)))
        parts = weakref.ref(cut.after), weakref.ref(cut.before)
        del cut
        assert [part() for part in parts] == [None, None]
    finally:
        gc.enable()
