"""Attention in shifted windows, as torchvision's Swin has it, in steps and with any number of heads."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_KINDS = ("ShiftedWindowAttention", "ShiftedWindowAttentionV2")
_APART = -100.0  # what is added to the scores of tokens that are neighbours in a shifted window only


def is_windowed(module: nn.Module) -> bool:
    """Whether a module is torchvision's attention in shifted windows, told without importing torchvision."""
    return type(module).__name__ in _KINDS and type(module).__module__.startswith("torchvision.")


def count_windowed_macs(module: nn.Module, images: Tensor) -> int:
    """How many multiply-accumulate operations the linear layers of such a module take on [N, height, width, D]."""
    tokens = len(images) * math.prod(_padded(images.shape[1:3], module.window_size))
    return tokens * sum(module.get_parameter(f"{layer}.weight").numel() for layer in ("qkv", "proj"))


class FewerWindowHeads(nn.Module):
    """Attention of torchvision's Swin, versions 1 and 2, whose heads need not fill the width of the network.

    It has the parameters, buffers and layers of the module that it is made from, by the same names.

    Args:
        whole: attention that `is_windowed`.

    Attributes:
        num_heads: how many heads there are.
        head_dim: numbers of each.

    Source: Liu et al. 2021, "Swin Transformer: hierarchical vision transformer using shifted windows"; cosine attention
    and continuous biases are those of Liu et al. 2022, "Swin Transformer V2: scaling up capacity and resolution".
    """

    qkv: nn.Linear
    proj: nn.Linear
    cpb_mlp: nn.Sequential
    logit_scale: Tensor
    relative_position_index: Tensor
    relative_position_bias_table: Tensor
    relative_coords_table: Tensor

    def __init__(self, whole: nn.Module):
        super().__init__()
        self._parameters, self._buffers, self._modules = whole._parameters, whole._buffers, whole._modules
        self.num_heads: int = whole.num_heads  # type: ignore[assignment]
        self.head_dim = self.qkv.out_features // 3 // self.num_heads
        self.window_size, self.shift_size = _pair(whole.window_size), _pair(whole.shift_size)
        self.attention_dropout, self.dropout = float(whole.attention_dropout), float(whole.dropout)  # type: ignore[arg-type]
        self.by_cosine = "logit_scale" in self._parameters
        self.training = whole.training

    def forward(self, images: Tensor) -> Tensor:
        """Attend to the tokens of the same window, [N, height, width, D] -> the same."""
        height, width = images.shape[1], images.shape[2]
        rows = into_windows(images, self.window_size, self.shift_size)
        queries, keys, values = self._project(rows)
        added = self._biases()
        if any(self.shift_size):
            added = added + apart(images, self.window_size, self.shift_size)
        dropped = self.attention_dropout if self.training else 0.0
        scale = 1.0 if self.by_cosine else None
        joined = F.scaled_dot_product_attention(queries, keys, values, added, dropped, scale=scale)
        found = F.dropout(self.proj(joined.transpose(1, 2).flatten(2)), self.dropout, self.training)
        return out_of_windows(found, height, width, self.window_size, self.shift_size)

    def _project(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, [N * windows, heads, tokens, numbers] each."""
        made: Any = self.qkv(rows).chunk(3, dim=-1)
        queries, keys, values = made[0], made[1], made[2]
        if self.by_cosine and self.qkv.bias is not None:
            keys = keys - self.qkv.bias.chunk(3)[1]  # keys have no bias there, whatever the parameter says
        shape = self.num_heads, self.head_dim
        queries, keys, values = (each.unflatten(-1, shape).transpose(1, 2) for each in (queries, keys, values))
        if self.by_cosine:
            scale = self.logit_scale.clamp(max=math.log(100.0)).exp()
            queries, keys = F.normalize(queries, dim=-1) * scale, F.normalize(keys, dim=-1)
        return queries, keys, values

    def _biases(self) -> Tensor:
        """What is added to the scores of two tokens for where they lie, [1, heads, tokens, tokens]."""
        if self.by_cosine:
            table = self.cpb_mlp(self.relative_coords_table).flatten(0, 2)
        else:
            table = self.relative_position_bias_table
        tokens = math.prod(self.window_size)
        found = table[self.relative_position_index].unflatten(0, (tokens, tokens)).permute(2, 0, 1).unsqueeze(0)
        return 16 * found.sigmoid() if self.by_cosine else found


def into_windows(images: Tensor, size: tuple[int, int], shift: tuple[int, int]) -> Tensor:
    """Cut images into windows, [N, height, width, D] -> [N * windows, tokens, D].

    Args:
        images: they are padded with zeros to whole windows.
        size: of a window.
        shift: how far the windows begin from the corner; what is left at the other end wraps around.
    """
    images = _pad(images, size)
    height, width = images.shape[1:3]
    down, right = _shift((height, width), size, shift)
    tiles = images.roll((-down, -right), (1, 2)).unflatten(2, (width // size[1], size[1]))
    return tiles.unflatten(1, (height // size[0], size[0])).transpose(2, 3).flatten(3, 4).flatten(0, 2)


def out_of_windows(rows: Tensor, height: int, width: int, size: tuple[int, int], shift: tuple[int, int]) -> Tensor:
    """What `into_windows` was given, of its height and width."""
    tall, wide = _padded((height, width), size)
    tiles = rows.unflatten(1, size).unflatten(0, (-1, tall // size[0], wide // size[1]))
    down, right = _shift((tall, wide), size, shift)
    return (
        tiles.transpose(2, 3).flatten(3, 4).flatten(1, 2).roll((down, right), (1, 2))[:, :height, :width].contiguous()
    )


def apart(images: Tensor, size: tuple[int, int], shift: tuple[int, int]) -> Tensor:
    """What keeps tokens apart that are neighbours in a shifted window only, [N * windows, 1, tokens, tokens].

    Args:
        images: [N, height, width, D].
        size: of a window.
        shift: of the windows.
    """
    regions = _pad(torch.zeros_like(images[..., :1]), size)
    sides = _pair(regions.shape[1:3])
    parts = []
    for side, window, moved in zip(sides, size, _shift(sides, size, shift), strict=True):
        places = torch.arange(side, device=images.device)
        parts.append((places >= side - window).to(images.dtype) + (places >= side - moved).to(images.dtype))
    regions = into_windows(regions + (3 * parts[0][:, None] + parts[1])[..., None], size, (0, 0))
    return (_APART * (regions != regions.transpose(1, 2)).to(images.dtype))[:, None]


def _pad(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Pad images [N, height, width, D] with zeros to whole windows."""
    height, width = _padded(images.shape[1:3], size)
    return F.pad(images, (0, 0, 0, width - images.shape[2], 0, height - images.shape[1]))


def _padded(sides: Any, size: Any) -> tuple[int, int]:
    """Sides of images that are whole windows."""
    return _pair([side + (window - side % window) % window for side, window in zip(sides, size, strict=True)])


def _shift(sides: tuple[int, int], size: tuple[int, int], shift: tuple[int, int]) -> tuple[int, int]:
    """How far windows are shifted: not at all along a side that is one window."""
    return _pair([0 if window >= side else moved for side, window, moved in zip(sides, size, shift, strict=True)])


def _pair(of: Any) -> tuple[int, int]:
    return of[0], of[1]


# Steps that torch.fx records as one operation each: they decide by sizes.
torch.fx.wrap("into_windows")
torch.fx.wrap("out_of_windows")
torch.fx.wrap("apart")
