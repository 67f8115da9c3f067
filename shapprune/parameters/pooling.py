"""Numbers of parameters, pooled: to units by the parts that they have, to rows of matrices, to modules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from shapprune.core.errors import ShapPruneError, unknown
from shapprune.graph.parts import Part
from shapprune.parameters.choice import axis_of_rows

POOLS = ("sum", "mean")


@dataclass(frozen=True)
class Pooling:
    """How numbers of parameters become one for each unit.

    Attributes:
        parts: what units have of the parameters; each has the name of a parameter's first use.
        how: ``sum`` or ``mean`` of a unit's numbers. The score of a set of players of a quadratic game is the sum.

    Raises:
        ShapPruneError: another way to pool.

    Examples:
        >>> import torch
        >>> from shapprune.graph.parts import Part
        >>> from shapprune.parameters.pooling import Pooling
        >>> places = torch.arange(2)[:, None]
        >>> rows, columns = Part("a", "weight", 0, places), Part("b", "weight", 1, places)
        >>> values = {"a.weight": torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "b.weight": torch.tensor([[10.0, 20.0]])}
        >>> Pooling([rows, columns])(values), Pooling([rows, columns], "mean")(values)
        (tensor([13., 27.], dtype=torch.float64), tensor([4.3333, 9.0000], dtype=torch.float64))
    """

    parts: Sequence[Part]
    how: str = "sum"

    def __post_init__(self) -> None:
        if self.how not in POOLS:
            raise unknown("pool", self.how, POOLS)

    @property
    def names(self) -> list[str]:
        """The parameters that are pooled, each once."""
        return list(dict.fromkeys(part.name for part in self.parts))

    def __call__(self, values: Mapping[str, Tensor]) -> Tensor:
        """Pool numbers of parameters, by name, to float64 [n]."""
        found = [part.of_units(values[part.name]).double() for part in self.parts]
        total = torch.stack([each.sum(1) for each in found]).sum(0)
        return total if self.how == "sum" else total / sum(each.shape[1] for each in found)


def pool_rows(values: Mapping[str, Tensor], model: nn.Module, how: str = "sum") -> dict[str, Tensor]:
    """Pool numbers of parameters to the rows of every matrix; the number of a row's bias counts with it.

    Args:
        values: of parameters, by name, each in the shape of its parameter.
        model: the network.
        how: ``sum`` or ``mean``.

    Returns:
        Name of each parameter of two or more axes among the values -> float64 [rows].

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from shapprune.parameters.pooling import pool_rows
        >>> layer = nn.Linear(3, 2)
        >>> pool_rows({"weight": torch.ones(2, 3), "bias": torch.tensor([1.0, 2.0])}, layer)
        {'weight': tensor([4., 5.], dtype=torch.float64)}
    """
    found = {}
    for name, value in values.items():
        if value.dim() > 1:
            parts = [part for part in row_parts(model, name) if part.name in values]
            found[name] = Pooling(parts, how)(values)
    return found


def row_parts(model: nn.Module, name: str) -> list[Part]:
    """The parts that the rows of a matrix have: in itself, and in the bias beside it if that has one for each."""
    (module, _, leaf), axis = name.rpartition("."), axis_of_rows(model, name)
    weight = model.get_parameter(name)
    places = torch.arange(weight.shape[axis])[:, None]
    parts = [Part(module, leaf, axis, places)]
    beside = leaf.replace("weight", "bias")
    bias = model.get_submodule(module)._parameters.get(beside) if beside != leaf else None
    if bias is not None and bias.shape == (len(places),):
        parts.append(Part(module, beside, 0, places))
    return parts


def pool_modules(values: Mapping[str, Tensor], modules: Iterable[str], how: str = "sum") -> dict[str, float]:
    """Pool numbers of parameters to whole modules, as layers, attentions or blocks, by their names.

    Raises:
        ShapPruneError: none of the parameters is in a module.

    Examples:
        >>> import torch
        >>> from shapprune.parameters.pooling import pool_modules
        >>> values = {"blocks.0.fc.weight": torch.ones(2, 2), "blocks.1.fc.weight": torch.ones(2)}
        >>> pool_modules(values, ["blocks.0", "blocks.1"])
        {'blocks.0': 4.0, 'blocks.1': 2.0}
    """
    if how not in POOLS:
        raise unknown("pool", how, POOLS)
    found = {}
    for module in modules:
        inside = [each.double() for name, each in values.items() if name.startswith(f"{module}.")]
        if not inside:
            raise ShapPruneError(f"none of the {len(values)} parameters that have scores is in a module {module!r}")
        total = sum(float(each.sum()) for each in inside)
        found[module] = total if how == "sum" else total / sum(each.numel() for each in inside)
    return found
