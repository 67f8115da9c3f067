"""Small transformers: for images with and without convolutions, and for text.

They are built of ``depth`` blocks, whose sizes beside the width of a token are ``heads``, ``head_dim`` and ``hidden``,
the neurons between the two linear layers. torch.fx traces them, and they take any number of examples at once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shapprune.networks.attention import SelfAttention
from shapprune.networks.tables import CCT_CHANNELS

_AROUND_ZERO = partial(nn.init.trunc_normal_, std=0.02)


class Block(nn.Module):
    """Attention and two linear layers, a LayerNorm before and a sum around each of the two.

    Source: Dosovitskiy et al. 2021, equations 2 and 3 (https://arxiv.org/abs/2010.11929); with causal attention Radford
    et al. 2019, "Language models are unsupervised multitask learners".
    """

    def __init__(self, width: int, heads: int, head_dim: int, hidden: int, causal: bool = False) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = SelfAttention(width, heads, head_dim, causal)
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [B, T, width] to [B, T, width]."""
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.fc2(self.act(self.fc1(self.norm2(tokens))))


class ViT(nn.Module):
    """A vision transformer: a token for each patch of an image, blocks, and a linear layer on the mean of all tokens.

    Source: Dosovitskiy et al. 2021 (https://arxiv.org/abs/2010.11929), with the mean of the tokens of appendix D.3 in
    the place of a class token.
    """

    def __init__(
        self, shape: tuple[int, int, int], classes: int, patch: int, width: int, depth: int, **block: int
    ) -> None:
        super().__init__()
        channels, height, across = shape
        self.embed = nn.Conv2d(channels, width, patch, patch)
        self.positions = nn.Parameter(torch.empty(1, (height // patch) * (across // patch), width))
        self.blocks = nn.Sequential(*(Block(width, causal=False, **block) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, classes)
        _draw_weights(self, nn.init.xavier_uniform_)
        _AROUND_ZERO(self.positions)

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, C, H, W] to outputs before the softmax, [N, classes]."""
        tokens = self.embed(images).flatten(2).transpose(1, 2) + self.positions
        return self.output(self.norm(self.blocks(tokens)).mean(1))


class CharGPT(nn.Module):
    """A decoder: after each token of a sequence, how likely each token is to follow.

    Source: Radford et al. 2019, "Language models are unsupervised multitask learners" (GPT-2), with an output layer of
    its own.
    """

    def __init__(self, shape: tuple[int], classes: int, width: int, depth: int, **block: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(classes, width)
        self.positions = nn.Parameter(torch.empty(1, shape[0], width))
        self.blocks = nn.Sequential(*(Block(width, causal=True, **block) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, classes)
        _draw_weights(self)
        nn.init.normal_(self.positions, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens, int64 [B, T] with T up to the length built for, to outputs before the softmax, [B, T, vocabulary]."""
        return self.output(self.norm(self.blocks(self.embed(tokens) + self.positions[:, : tokens.shape[1]])))


class CCT(nn.Module):
    """A compact convolutional transformer: convolutions make the tokens, and a weighted mean of them is classified.

    Module names are those of https://github.com/SHI-Labs/Compact-Transformers, so its checkpoints load as they are.

    Source: Hassani et al. 2021, "Escaping the big data paradigm with compact transformers", sections 3.2 and 3.3
    (https://arxiv.org/abs/2104.05704).
    """

    def __init__(
        self, shape: tuple[int, int, int], classes: int, convolutions: int, width: int, depth: int, **block: int
    ) -> None:
        super().__init__()
        channels, height, across = shape
        self.tokenizer = _Tokenizer(channels, convolutions, width)
        side = 2**convolutions  # each pooling halves the sides, and rounds up
        tokens = -(-height // side) * -(-across // side)
        self.classifier = _Classifier(tokens, width, classes, [CCTBlock(width, **block) for _ in range(depth)])
        _draw_weights(self)
        nn.init.trunc_normal_(self.classifier.positional_emb, std=0.2)

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, C, H, W] to outputs before the softmax, [N, classes]."""
        return self.classifier(self.tokenizer(images))


class CCTBlock(nn.Module):
    """Attention and two linear layers; the second sum adds to what the second LayerNorm puts out."""

    def __init__(self, width: int, heads: int, head_dim: int, hidden: int) -> None:
        super().__init__()
        self.pre_norm = nn.LayerNorm(width)
        self.self_attn = SelfAttention(width, heads, head_dim, bias=False)
        self.norm1 = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, hidden)
        self.act = nn.GELU()
        self.linear2 = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [B, T, width] to [B, T, width]."""
        tokens = self.norm1(tokens + self.self_attn(self.pre_norm(tokens)))
        return tokens + self.linear2(self.act(self.linear1(tokens)))


class _Tokenizer(nn.Module):
    def __init__(self, channels: int, convolutions: int, width: int) -> None:
        super().__init__()
        widths = [channels, *[CCT_CHANNELS] * (convolutions - 1), width]
        self.conv_layers = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
                    nn.ReLU(),
                    nn.MaxPool2d(3, 2, padding=1),
                )
                for inputs, outputs in pairwise(widths)
            )
        )

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, C, H, W] to tokens [N, T, width]."""
        return self.conv_layers(images).flatten(2).transpose(1, 2)


class _Classifier(nn.Module):
    def __init__(self, tokens: int, width: int, classes: int, blocks: list[CCTBlock]) -> None:
        super().__init__()
        self.positional_emb = nn.Parameter(torch.empty(1, tokens, width))
        self.attention_pool = nn.Linear(width, 1)
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(width)
        self.fc = nn.Linear(width, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [N, T, width] to outputs before the softmax, [N, classes]."""
        tokens = self.norm(self.blocks(tokens + self.positional_emb))
        shares = F.softmax(self.attention_pool(tokens), 1)
        return self.fc((shares.transpose(1, 2) @ tokens).squeeze(1))


def _draw_weights(model: nn.Module, of_layers: Callable[[Tensor], Tensor] = _AROUND_ZERO) -> None:
    """Draw weights as the sources do; biases are zero."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            of_layers(module.weight)
        elif isinstance(module, nn.Embedding):
            _AROUND_ZERO(module.weight)
        elif isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
        if isinstance(module, nn.Linear | nn.Conv2d) and module.bias is not None:
            nn.init.zeros_(module.bias)
