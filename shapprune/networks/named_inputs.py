"""Networks that take several sequences by name, such as token ids and an attention mask, as networks of one tensor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from shapprune.core.errors import ShapPruneError, unknown
from shapprune.data.prepared import NOT_COUNTED

_MASK = "attention_mask"


class NamedInputs(nn.Module):
    """A network of inputs by name, all whole numbers [N, T], as one of a single tensor, int64 [N, inputs, T].

    Layers are called as in the network, with ``network.`` before; what is made smaller has it as ``network``.

    Args:
        network: a network whose forward pass takes these inputs by name, as those of the package transformers do.
        names: of the inputs, in their order in the tensor.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from shapprune.networks.named_inputs import NamedInputs
        >>> class Words(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.table = nn.Embedding(10, 4)
        ...     def forward(self, input_ids, attention_mask=None):
        ...         return self.table(input_ids) * attention_mask[..., None]
        >>> network = NamedInputs(Words(), "input_ids", "attention_mask")
        >>> inputs = network.pack({"input_ids": [[7, 3, 0]], "attention_mask": [[1, 1, 0]]})
        >>> inputs.shape, network(inputs).abs().sum(2).bool()
        (torch.Size([1, 2, 3]), tensor([[ True,  True, False]]))
        >>> network.next_tokens(inputs)
        tensor([[   3, -100, -100]])
    """

    def __init__(self, network: nn.Module, *names: str):
        super().__init__()
        if not names or len(set(names)) < len(names):
            raise ShapPruneError(f"inputs {names} are not one or more different names")
        self.network, self.names = network, names

    def forward(self, inputs: Tensor) -> Any:
        """What the network puts out for inputs that `pack` made, [N, inputs, T]."""
        return self.network(**{name: inputs[:, place] for place, name in enumerate(self.names)})

    def pack(self, inputs: Mapping[str, Any]) -> Tensor:
        """Put inputs into one tensor, int64 [N, inputs, T].

        Args:
            inputs: name -> whole numbers [N, T], as a tokenizer returns them; a tensor or lists.

        Raises:
            ShapPruneError: other inputs than the network takes, or one that is not of whole numbers or has another
                size than the first.
        """
        for name in inputs:
            if name not in self.names:
                raise unknown("input", name, self.names)
        if missing := [name for name in self.names if name not in inputs]:
            raise ShapPruneError(f"input {missing[0]!r} is missing; the network takes {', '.join(self.names)}")
        found = {name: _whole(name, inputs[name]) for name in self.names}
        first, size = self.names[0], found[self.names[0]].shape
        for name, each in found.items():
            if each.shape != size:
                raise ShapPruneError(
                    f"{name} has the size {list(each.shape)}, but {first} {list(size)}; all have one length"
                )
        return torch.stack(list(found.values()), 1)

    def next_tokens(self, inputs: Tensor, tokens: str = "input_ids", mask: str = _MASK) -> Tensor:
        """The labels of a language model, int64 [N, T]: what follows each token, -100 where that is padding or nothing.

        Args:
            inputs: what `pack` made, [N, inputs, T].
            tokens: the input that has the tokens.
            mask: the input that is 0 where there is padding.

        Raises:
            ShapPruneError: the network has no such inputs.
        """
        for name in (tokens, mask):
            if name not in self.names:
                raise unknown("input", name, self.names)
        ids, counted = (inputs[:, self.names.index(name)] for name in (tokens, mask))
        labels = torch.full_like(ids, NOT_COUNTED)
        both = (counted[:, :-1] != 0) & (counted[:, 1:] != 0)
        labels[:, :-1] = torch.where(both, ids[:, 1:], NOT_COUNTED)
        return labels


def counted_positions(model: nn.Module, inputs: Tensor) -> Tensor | None:
    """Say which positions of sequences count, because they are no padding.

    All that looks at positions of sequences asks here: repairs, criteria of activations, comparisons of outputs.

    Args:
        model: a network; a `NamedInputs` with an input ``attention_mask`` has padding where that is 0.
        inputs: of it, [N, ...].

    Returns:
        bool [N, T]; None where all count.

    Raises:
        ShapPruneError: a sequence is all padding.
    """
    if not isinstance(model, NamedInputs) or _MASK not in model.names:
        return None
    counted = inputs[:, model.names.index(_MASK)] != 0
    if not counted.any(1).all():
        empty = int(counted.any(1).logical_not().nonzero()[0])
        raise ShapPruneError(f"sequence {empty} is all padding: its {_MASK} is 0 everywhere")
    return None if bool(counted.all()) else counted


def _whole(name: str, values: Any) -> Tensor:
    try:
        found = torch.as_tensor(values)
    except (TypeError, ValueError) as error:
        raise ShapPruneError(f"input {name!r} is no table of numbers, with sequences of one length: {error}") from error
    if found.dim() != 2 or found.is_floating_point() or found.is_complex():
        raise ShapPruneError(f"input {name!r} is {found.dtype} {list(found.shape)}, not whole numbers [N, T]")
    return found.long()
