"""Attention in shifted windows in steps is that of torchvision."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from shapprune.data.vision import torchvision
from shapprune.networks.fewer_heads import resize
from shapprune.networks.window_attention import FewerWindowHeads, count_windowed_macs, is_windowed

swin = torchvision.models.swin_transformer
KINDS = pytest.mark.parametrize("kind", [swin.ShiftedWindowAttention, swin.ShiftedWindowAttentionV2])
WIDTH, HEADS = 12, 3


def attention(kind, window=(4, 4), shift=(2, 2), **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = kind(WIDTH, list(window), list(shift), HEADS, **options).eval()
        for parameter in module.parameters():
            nn.init.normal_(parameter, std=0.5)
    return module


@KINDS
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize(
    ("window", "shift", "sides"),
    [
        ((4, 4), (0, 0), (8, 8)),
        ((4, 4), (2, 2), (8, 8)),
        ((4, 4), (0, 2), (8, 8)),
        ((4, 3), (2, 1), (9, 7)),  # padded
        ((4, 4), (2, 2), (4, 9)),  # one window along a side: no shift there
        ((7, 7), (3, 3), (4, 4)),  # smaller than a window
    ],
)
def test_outputs_are_those_of_torchvision(kind, biased, window, shift, sides):
    whole = attention(kind, window, shift, qkv_bias=biased, proj_bias=biased)
    images = torch.randn(2, *sides, WIDTH, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(FewerWindowHeads(whole)(images), whole(images), atol=1e-4, rtol=1e-4)


@KINDS
def test_heads_may_be_fewer_and_names_stay(kind):
    whole = attention(kind)
    before = {name: id(each) for name, each in whole.named_parameters()}
    model = nn.Sequential(whole)
    resize(model, "0", {"num_heads": 2})
    fewer = model[0]
    assert {name: id(each) for name, each in fewer.named_parameters()} == before
    assert fewer.state_dict().keys() == whole.state_dict().keys()
    assert (fewer.num_heads, fewer.head_dim) == (2, WIDTH // HEADS)
    assert not is_windowed(fewer)


def test_keys_of_the_second_version_learn_no_bias():
    steps = FewerWindowHeads(attention(swin.ShiftedWindowAttentionV2))
    images = torch.randn(2, 8, 8, WIDTH, generator=torch.Generator().manual_seed(0))
    steps(images).square().sum().backward()
    queries, keys, _ = steps.qkv.bias.grad.chunk(3)
    assert keys.abs().max() < 1e-5 * queries.abs().max()


@KINDS
@pytest.mark.parametrize("training", [False, True])
def test_dropout_is_for_training(kind, training):
    whole = attention(kind, dropout=0.5, attention_dropout=0.5).train(training)
    images = torch.randn(2, 8, 8, WIDTH)
    steps = FewerWindowHeads(whole)
    with torch.no_grad():
        assert torch.equal(steps(images), steps(images)) != training


@KINDS
@pytest.mark.parametrize(("sides", "tokens"), [((8, 8), 64), ((9, 3), 12 * 4)])
def test_what_linear_layers_take_counts_with_padding(kind, sides, tokens):
    assert count_windowed_macs(attention(kind), torch.rand(2, *sides, WIDTH)) == 2 * tokens * 4 * math.prod([WIDTH] * 2)
