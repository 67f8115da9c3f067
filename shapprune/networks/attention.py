"""Self-attention whose heads may be fewer than its width has room for, as they are once some were removed."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """Multi-head self-attention with one linear layer for queries, keys and values, and one behind the heads.

    Source: Vaswani et al. 2017, section 3.2.2 (https://arxiv.org/abs/1706.03762). Names are those of Hassani et al.
    2021, https://github.com/SHI-Labs/Compact-Transformers.

    Attributes:
        num_heads: how many heads there are.
        head_dim: numbers in a query, key or value of one head; their product is what ``proj`` reads.
        causal: whether a token sees only itself and those before it.
        qkv: from a token to the queries of all heads, then their keys, then their values.
        proj: from the outputs of all heads, one behind the other, to a token.
    """

    def __init__(self, width: int, num_heads: int, head_dim: int, causal: bool = False, bias: bool = True) -> None:
        super().__init__()
        self.num_heads, self.head_dim, self.causal = num_heads, head_dim, causal
        self.qkv = nn.Linear(width, 3 * num_heads * head_dim, bias=bias)
        self.proj = nn.Linear(num_heads * head_dim, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [B, T, width] to [B, T, width]; in between what the heads put out, [B, num_heads, T, head_dim]."""
        parts = self.qkv(tokens).unflatten(2, (3, self.num_heads, self.head_dim)).permute(2, 0, 3, 1, 4)
        heads = F.scaled_dot_product_attention(parts[0], parts[1], parts[2], is_causal=self.causal)
        return self.proj(heads.transpose(1, 2).flatten(2))
