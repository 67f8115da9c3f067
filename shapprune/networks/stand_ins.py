"""What stands in a network where modules were taken out with the residual branch that they made up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from shapprune.core.errors import ShapPruneError


class StandIn(nn.Module):
    """Stands where a module was, whatever it is called with: it has no parameters.

    Args:
        zeros: put out zeros, of the size of the first input, which change nothing where they are added; else hand on
            that input.
        items: 0 where the module puts out a tensor; else the length of the tuple whose first item that is.
        sizes: what the size of each axis but the first is, where zeros do not have that of the input: a number, or
            ``"/2"`` for half the size of the input, rounded up, as after strides.

    Examples:
        >>> import torch
        >>> from shapprune.networks.stand_ins import StandIn
        >>> StandIn(zeros=True, sizes=[8, "/2"])(torch.rand(5, 4, 7)).shape
        torch.Size([5, 8, 4])
    """

    def __init__(self, zeros: bool = False, items: int = 0, sizes: Sequence[int | str] = ()):
        super().__init__()
        self.zeros, self.items, self.sizes = zeros, items, list(sizes)

    def facts(self) -> dict[str, Any]:
        """The arguments that make it, as JSON can hold them."""
        return {"zeros": self.zeros, "items": self.items, "sizes": self.sizes}

    def extra_repr(self) -> str:  # noqa: D102  as in nn.Module
        return "zeros" if self.zeros else "input"

    def forward(self, *inputs: Any, **named: Any) -> Any:  # noqa: D102  as in nn.Module
        value = self._value(first_input(inputs, named))
        return (value, *[None] * (self.items - 1)) if self.items else value

    def _value(self, given: Tensor) -> Tensor:
        if not self.zeros:
            return given
        if not self.sizes:
            return torch.zeros_like(given)
        # Each size is asked for by itself, so that torch.fx can follow.
        rest = [
            size if isinstance(size, int) else (given.shape[axis] + int(size[1:]) - 1) // int(size[1:])
            for axis, size in enumerate(self.sizes, 1)
        ]
        return given.new_zeros([given.shape[0], *rest])


def first_input(inputs: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
    """The first input of a module's call."""
    return next(iter([*inputs, *named.values()]))


def zeros_like(given: Tensor, put_out: Tensor, items: int) -> StandIn:
    """What stands in for a module that put out a tensor of some size, given another.

    Args:
        given: what it is given, [N, ...].
        put_out: what it put out, [N, ...].
        items: as in `StandIn`.

    Raises:
        ShapPruneError: the number of axes or of images differs.
    """
    if given.dim() != put_out.dim() or len(given) != len(put_out):
        raise ShapPruneError(f"it makes {tuple(put_out.shape)} of {tuple(given.shape)}, which has no simple stand-in")
    if given.shape == put_out.shape:
        return StandIn(True, items)
    sizes = [_size(before, after) for before, after in zip(given.shape[1:], put_out.shape[1:], strict=True)]
    return StandIn(True, items, sizes)


def _size(before: int, after: int) -> int | str:
    """What makes a size of another: what it is divided by, or else the size itself."""
    by = -(-before // after) if after else 0
    return f"/{by}" if by and -(-before // by) == after else after


def stand_ins_of(model: nn.Module) -> dict[str, dict[str, Any]]:
    """The stand-ins of a network: path -> the arguments that make it."""
    return {path: each.facts() for path, each in model.named_modules() if isinstance(each, StandIn)}


def put_stand_in(model: nn.Module, path: str, stand_in: StandIn) -> None:
    """Put a stand-in in the place of a module, in its mode."""
    model.set_submodule(path, stand_in.train(model.get_submodule(path).training))
