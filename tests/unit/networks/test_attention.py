"""Self-attention against its definition, and with heads that do not fill its width."""

from __future__ import annotations

import pytest
import torch

from shapprune.networks.attention import SelfAttention
from tests.toys import randomise


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("heads", "head_dim"), [(2, 4), (1, 3), (3, 5)])
def test_it_is_attention(heads, head_dim, causal):
    attention = randomise(SelfAttention(8, heads, head_dim, causal=causal)).eval()
    tokens = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))
    query, key, value = attention.qkv(tokens).chunk(3, -1)
    found = torch.zeros(2, 5, 8)
    for head in range(heads):
        part = slice(head * head_dim, (head + 1) * head_dim)
        weights = query[..., part] @ key[..., part].transpose(1, 2) / head_dim**0.5
        if causal:
            weights = weights.masked_fill(torch.ones(5, 5).triu(1).bool(), -torch.inf)
        found = found + weights.softmax(-1) @ value[..., part] @ attention.proj.weight[:, part].T
    torch.testing.assert_close(attention(tokens), found + attention.proj.bias)
