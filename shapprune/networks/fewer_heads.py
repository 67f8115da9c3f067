"""Attention with fewer heads: the attributes that count them, and a module that allows for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shapprune.core.errors import ShapPruneError
from shapprune.networks.window_attention import FewerWindowHeads, is_windowed

# Attributes of attention modules that count heads, groups of heads, and numbers of all heads together.
_HEADS = ("num_heads", "num_attention_heads", "n_head", "n_heads", "heads")
_GROUPS = ("num_key_value_heads", "num_kv_heads", "n_kv_heads")
_WIDTHS = ("all_head_size", "attn_dim", "inner_dim", "split_size")


def fewer_heads(model: nn.Module, name: str, heads: int, units: int, left: int) -> None:
    """Set what a module's attributes say of its heads, in place; `resized` of the network keeps them for storage.

    Args:
        model: the network.
        name: of the module with attention.
        heads: how many query heads it has.
        units: how many of them, or of groups of them, can leave by themselves.
        left: how many of these are left.
    """
    module = model.get_submodule(name)
    counts = {**dict.fromkeys(_HEADS, heads), **dict.fromkeys(_GROUPS, units)}
    changed = {}
    for attribute, value in vars(module).items():
        if type(value) is int and (value == counts.get(attribute) or (attribute in _WIDTHS and value % heads == 0)):
            changed[attribute] = value * left // units
    resize(model, name, changed)


def resize(model: nn.Module, name: str, attributes: Mapping[str, int]) -> None:
    """Set attributes of a module with attention that count heads.

    nn.MultiheadAttention and torchvision's attention in windows make place for modules that allow for fewer.

    Args:
        model: the network, changed in place.
        name: of the module.
        attributes: their values; they must be there.

    Raises:
        ShapPruneError: the module is not there, or has no such attribute.
    """
    try:
        module = model.get_submodule(name)
    except AttributeError as error:
        raise ShapPruneError(f"{type(model).__name__} has no module {name!r}") from error
    if isinstance(module, nn.MultiheadAttention) or is_windowed(module):
        module = in_steps(module)
        model.set_submodule(name, module)
    for attribute, value in attributes.items():
        if type(getattr(module, attribute, None)) is not int or attribute not in (*_HEADS, *_GROUPS, *_WIDTHS):
            raise ShapPruneError(f"{type(module).__name__} {name!r} has no {attribute!r} that counts heads")
        setattr(module, attribute, value)
    model.resized = resized(model) | {name: dict(attributes)}  # type: ignore[assignment]


def resized(model: nn.Module) -> dict[str, dict[str, int]]:
    """What the attributes of modules with fewer heads were set to."""
    return dict(getattr(model, "resized", {}))


def can_have_fewer(whole: nn.MultiheadAttention) -> bool:
    """Whether attention has queries, keys and values of one width, and no biases of its own for keys and values."""
    return whole.in_proj_weight is not None and whole.bias_k is None and not whole.add_zero_attn


def in_steps(whole: nn.Module) -> FewerHeads | FewerWindowHeads:
    """Attention of torch or torchvision as a module that computes it in steps, and allows for fewer heads.

    They share parameters, buffers and layers.

    Raises:
        ShapPruneError: another kind of attention.
    """
    return FewerHeads(whole) if isinstance(whole, nn.MultiheadAttention) else FewerWindowHeads(whole)


def is_joint(module: nn.Module) -> bool:
    """Whether attention has its queries, keys and values in one weight of its own."""
    return isinstance(module, FewerHeads) or (isinstance(module, nn.MultiheadAttention) and can_have_fewer(module))


def is_attention(module: nn.Module) -> bool:
    """Whether a module is torch's attention in one operation, or has its place."""
    return isinstance(module, nn.MultiheadAttention | FewerHeads)


class FewerHeads(nn.Module):
    """Attention of nn.MultiheadAttention, whose heads need not fill the width of the network.

    It has the parameters of the module that it is made from, by the same names.

    Args:
        whole: attention that `can_have_fewer`.

    Attributes:
        num_heads: how many heads there are.
        head_dim: numbers of each.

    Raises:
        ShapPruneError: another kind of attention.
    """

    def __init__(self, whole: nn.MultiheadAttention):
        super().__init__()
        if not can_have_fewer(whole):
            raise ShapPruneError("heads can be removed from nn.MultiheadAttention of one width and without bias_k only")
        self.num_heads, self.head_dim = whole.num_heads, whole.head_dim
        self.batch_first, self.dropout = whole.batch_first, whole.dropout
        self.in_proj_weight, self.in_proj_bias, self.out_proj = whole.in_proj_weight, whole.in_proj_bias, whole.out_proj
        self.training = whole.training

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = False,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, None]:
        """As that of nn.MultiheadAttention for [N, T, D], or [T, N, D]; the weights are not returned."""
        queries, keys, values = self._project(query, key, value)
        masks = [] if attn_mask is None else [attn_mask]
        if key_padding_mask is not None:
            masks.append(key_padding_mask[:, None, None])
        added = [_as_added(each, query.dtype) for each in masks]
        mask = torch.stack(torch.broadcast_tensors(*added)).sum(0) if added else None
        dropped = self.dropout if self.training else 0.0
        joined = F.scaled_dot_product_attention(queries, keys, values, mask, dropped, is_causal and mask is None)
        found = self.out_proj(joined.transpose(1, 2).flatten(2))
        return (found if self.batch_first else found.transpose(0, 1)), None

    def _project(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, [N, heads, T, numbers] each."""
        if query is key and key is value:
            made = self._linear(query)
        else:
            made = [self._linear(each)[place] for place, each in enumerate((query, key, value))]
        shape = self.num_heads, self.head_dim
        queries, keys, values = (each.unflatten(-1, shape).transpose(1, 2) for each in (made[0], made[1], made[2]))
        return queries, keys, values

    def _linear(self, inputs: Tensor) -> Any:
        """Queries, keys and values of all heads side by side, [N, T, heads * numbers] each."""
        inputs = inputs if self.batch_first else inputs.transpose(0, 1)
        return F.linear(inputs, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)


def _as_added(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """A mask as what is added to scores; where it is True, nothing is looked at."""
    return torch.zeros_like(mask, dtype=dtype).masked_fill(mask, -torch.inf) if mask.dtype == torch.bool else mask
