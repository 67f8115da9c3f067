"""What the transformers are built of."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from shapprune.graph.counting import count_macs, count_parameters
from shapprune.networks.attention import SelfAttention
from shapprune.networks.builders import build
from shapprune.networks.transformers import Block, CCTBlock
from shapprune.networks.weights import read_weights
from tests.toys import randomise


def test_a_block_adds_to_what_it_is_given():
    block, tokens = randomise(Block(6, 2, 3, 10)), torch.randn(2, 4, 6)
    for name in ("attn.proj", "fc2"):
        layer = block.get_submodule(name)
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    assert torch.equal(block(tokens), tokens)


def test_a_block_of_cct_adds_to_what_its_second_norm_puts_out():
    block, tokens = randomise(CCTBlock(6, 2, 3, 10)), torch.randn(2, 4, 6)
    nn.init.zeros_(block.linear2.weight)
    nn.init.zeros_(block.linear2.bias)
    assert torch.equal(block(tokens), block.norm1(tokens + block.self_attn(block.pre_norm(tokens))))


def test_a_token_does_not_see_those_behind_it():
    model = randomise(build("char_gpt", (6,), 5, width=8, depth=2, heads=2, head_dim=4, hidden=9)).eval()
    tokens = torch.tensor([[0, 1, 2, 3, 4, 0]])
    outputs = model(tokens)
    changed = model(torch.tensor([[0, 1, 2, 4, 4, 0]]))
    assert torch.equal(outputs[:, :3], changed[:, :3])
    assert not torch.isclose(outputs[:, 3:], changed[:, 3:]).all(2).any()
    torch.testing.assert_close(model(tokens[:, :4]), outputs[:, :4])  # also a shorter text


@pytest.mark.parametrize("architecture", ["vit", "cct"])
def test_where_a_patch_is_does_count(architecture):
    options = {"width": 8, "depth": 1, "heads": 2, "head_dim": 4, "hidden": 9}
    model = randomise(build(architecture, (1, 8, 8), 3, **options)).eval()
    image = torch.rand(1, 1, 8, 8)
    assert not torch.allclose(model(image), model(image.flip(3)), atol=1e-3)


def test_what_they_compute_is_counted():
    model = build("char_gpt", (6,), 5, width=8, depth=2, heads=2, head_dim=3, hidden=9)
    block = 8 * 18 + 6 * 8 + 2 * 8 * 9  # queries, keys and values, what reads the heads, feed-forward
    assert count_macs(model, torch.zeros(1, 6, dtype=torch.long)) == 6 * (2 * block + 8 * 5)
    biases = 18 + 8 + 9 + 8 + 4 * 8
    assert count_parameters(model) == 2 * (block + biases) + 5 * 8 + 6 * 8 + 2 * 8 + 8 * 5 + 5


def test_heads_are_where_their_modules_say():
    model = build("vit", (1, 8, 8), 3, heads=3, head_dim=5)
    sizes = [(each.num_heads, each.head_dim) for each in model.modules() if isinstance(each, SelfAttention)]
    assert sizes == [(3, 5)] * 4


@pytest.mark.data
def test_cct_has_the_tensors_of_the_public_weights(data_folder):
    weights = read_weights(data_folder / "weights" / "cct2-3x2-cifar10.pth.tar")
    own = build("cct", (3, 32, 32), 10).state_dict()
    assert {name: each.shape for name, each in weights.tensors.items()} == {k: v.shape for k, v in own.items()}
