"""Parts of parameters that belong to units, and networks without them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from shapprune.networks.resizing import count_again


@dataclass(frozen=True)
class Dependent:
    """A module in which units have places.

    Attributes:
        name: of the module.
        reads: whether the units are inputs of the module, else they are its outputs.
        places: the channels or features of each unit, int [n, k]; k > 1 where positions were flattened.
    """

    name: str
    reads: bool
    places: Tensor


@dataclass(frozen=True)
class Part:
    """The part that units have in a parameter or buffer.

    Attributes:
        module: name of the module that has it.
        leaf: its name there.
        axis: along which the units lie.
        places: of each unit on that axis, int [n, k].
    """

    module: str
    leaf: str
    axis: int
    places: Tensor

    @property
    def name(self) -> str:
        """The name of the tensor in the network."""
        return f"{self.module}.{self.leaf}" if self.module else self.leaf

    def of_units(self, tensor: Tensor) -> Tensor:
        """The numbers of each unit in the tensor, or in one of its shape, [n, k]."""
        return tensor.movedim(self.axis, 0)[self.places.to(tensor.device)].flatten(1)


def cut_parts(model: nn.Module, chosen: Iterable[tuple[Part, Sequence[int]]]) -> None:
    """Take the parts of units out of a network, in place.

    Args:
        model: the network.
        chosen: parts, and the units whose places in them go.
    """
    gone: dict[tuple[str, str, int], set[int]] = {}
    for part, units in chosen:
        taken = part.places[list(units)].flatten().tolist()
        gone.setdefault((part.module, part.leaf, part.axis), set()).update(taken)
    for (name, leaf, axis), places in gone.items():
        module = model.get_submodule(name)
        tensor = getattr(module, leaf)
        kept = torch.tensor([at for at in range(tensor.shape[axis]) if at not in places], device=tensor.device)
        smaller = tensor.detach().index_select(axis, kept)
        if isinstance(tensor, nn.Parameter):
            smaller = nn.Parameter(smaller, tensor.requires_grad)
        setattr(module, leaf, smaller)
        count_again(module)
