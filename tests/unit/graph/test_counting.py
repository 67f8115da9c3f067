"""Parameters and multiply-accumulate operations, counted by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from shapprune.graph.counting import count_macs, count_parameters
from tests.toys import ConvNetwork, images


def test_counting():
    model = ConvNetwork()
    assert count_parameters(model) == sum(p.numel() for p in model.parameters())
    # conv 4x1x9 on 64 positions, conv 6x4x9 on 16, linear 24x8, linear 8x3
    assert count_macs(model, images(2)) == 36 * 64 + 216 * 16 + 192 + 24


class Rows(nn.Module):
    """A linear layer on tokens that are rows beside those of other images."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.linear(tokens.flatten(0, 1)).unflatten(0, tokens.shape[:2])


@pytest.mark.parametrize("network", [nn.Linear(4, 3), Rows()])
def test_a_linear_layer_counts_for_each_token(network):
    assert count_macs(network, torch.rand(2, 5, 4)) == 5 * 12


class Attention(nn.Module):
    """Attention to other tokens, of another width, as PyTorch computes it in one operation."""

    def __init__(self, **widths: int) -> None:
        super().__init__()
        self.attention, self.widths = nn.MultiheadAttention(6, 2, batch_first=True, **widths), widths

    def forward(self, tokens: Tensor) -> Tensor:
        if not self.widths:
            return self.attention(tokens, tokens, tokens, need_weights=False)[0]
        others = tokens.new_ones(len(tokens), 3, 5)
        return self.attention(query=tokens, key=others, value=others)[0]


@pytest.mark.parametrize("training", [False, True])
def test_attention_in_one_operation_counts(training):
    tokens = torch.rand(2, 4, 6)
    assert count_macs(Attention().train(training), tokens) == 4 * (3 * 36 + 36)
    assert count_macs(Attention(kdim=5, vdim=5).train(training), tokens) == 4 * 36 + 2 * 3 * 30 + 4 * 36
    layer = nn.TransformerEncoderLayer(6, 2, 7, batch_first=True).train(training)
    assert count_macs(layer, tokens) == 4 * (4 * 36 + 2 * 42)
