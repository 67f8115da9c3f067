"""Blocks of parameters: which numbers share one, and rank-one products cut into them."""

from __future__ import annotations

import pytest
import torch

from shapprune.parameters.blocks import Blocks
from tests.unit.parameters.cases import BLOCKS, cut, small_network


def of_small_network(kind):
    weights = {name: each.detach() for name, each in small_network().named_parameters()}
    return Blocks(kind, weights, dict.fromkeys(weights, 0)), list(weights.values())


@pytest.mark.parametrize("kind", BLOCKS)
def test_members_are_each_number_once(kind):
    blocks, weights = of_small_network(kind)
    found = [torch.full(each.shape, -1) for each in weights]
    for block, members in enumerate(blocks.members()):
        for at, mask in members:
            assert (found[at][mask.expand_as(found[at])] == -1).all()
            found[at][mask.expand_as(found[at])] = block
    assert torch.cat([each.flatten() for each in found]).tolist() == BLOCKS[kind]
    assert blocks.count == max(BLOCKS[kind]) + 1


@pytest.mark.parametrize("kind", BLOCKS)
def test_rank_one_products_are_cut_into_blocks(kind):
    blocks, weights = of_small_network(kind)
    generator = torch.Generator().manual_seed(0)
    gradients = [torch.randn(each.shape, generator=generator, dtype=torch.float64) for each in weights]
    g, theta = (torch.cat([each.flatten() for each in some]) for some in (gradients, weights))
    found = torch.cat([each.flatten() for each in blocks.rank_one(gradients, weights)])
    torch.testing.assert_close(found, cut(torch.outer(g, g), kind) @ theta)


def test_parameters_without_axes_have_a_block_each():
    weights = {"a.scale": torch.tensor(2.0), "a.shift": torch.tensor(3.0)}
    for kind, count in (("row", 2), ("matrix", 2), ("layer", 1), ("parameter", 2)):
        assert Blocks(kind, weights, dict.fromkeys(weights, 0)).count == count


def test_heads_come_before_the_others():
    weights = {"q": torch.ones(4, 2), "k": torch.ones(4, 2), "o": torch.ones(2, 4)}
    heads = dict.fromkeys(("q", "k"), torch.tensor([0, 0, 1, 1])[:, None])
    blocks = Blocks("matrix", weights, dict.fromkeys(weights, 0), heads)
    assert blocks.count == 3
    ones = [torch.ones_like(each) for each in weights.values()]
    assert [each.unique().tolist() for each in blocks.rank_one(ones, ones)] == [[8.0], [8.0], [8.0]]
    assert [[at for at, _ in members] for members in blocks.members()] == [[0, 1], [0, 1], [2]]
