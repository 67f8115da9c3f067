"""Attention of torch in steps."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from shapprune import ShapPruneError
from shapprune.graph.tracing import trace
from shapprune.networks.fewer_heads import in_steps, resize


class Attending(nn.Module):
    """Attention to oneself."""

    def __init__(self, **options: object) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True, **options)

    def forward(self, tokens):
        return self.attention(tokens, tokens, tokens, need_weights=False)[0]


@pytest.mark.parametrize("training", [False, True])
def test_dropout_is_for_training(training):
    model, tokens = Attending(dropout=0.5).train(training), torch.rand(2, 5, 6)
    steps = in_steps(model.attention)
    one, other = (steps(tokens, tokens, tokens)[0] for _ in range(2))
    assert torch.equal(one, other) != training
    torch.testing.assert_close(trace(model)(tokens), model.eval()(tokens))  # as it runs in eval mode


@pytest.mark.parametrize(
    ("name", "attributes", "message"),
    [
        ("attention", {"dropout": 1}, "FewerHeads 'attention' has no 'dropout' that counts heads"),
        ("attending", {"num_heads": 1}, "Attending has no module 'attending'"),
    ],
)
def test_what_does_not_count_heads_is_refused(name, attributes, message):
    with pytest.raises(ShapPruneError, match=message):
        resize(Attending(), name, attributes)


def test_attention_with_biases_of_its_own_cannot_have_fewer():
    with pytest.raises(ShapPruneError, match="of one width and without bias_k only"):
        resize(Attending(add_bias_kv=True), "attention", {"num_heads": 1})
