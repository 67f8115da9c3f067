"""The parts that scored rows and units have of parameters, with the checks that all uses of scores share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from shapprune.core.errors import ShapPruneError, unknown
from shapprune.graph.parts import Part
from shapprune.parameters.choice import first_names
from shapprune.parameters.pooling import row_parts
from shapprune.parameters.units import Pools, Scope


def scored_parts(
    model: nn.Module, scores: Mapping[str, Tensor], share: float, example: Tensor | Pools | None, scope: Scope = "all"
) -> Iterator[tuple[list[Part], Tensor]]:
    """The parts of each matrix or layer that has scores, and these.

    Args:
        model: the network.
        scores: without ``example`` a matrix -> a score for each of its rows, [rows]; with it a layer -> a score for
            each of its units, [n].
        share: of the rows or units, in (0, 1), to check it.
        example: images or tokens, [N, ...], that the network can run on; or, where it is done several times, the
            `shapprune.parameters.units.Pools` of the network.
        scope: what units have, as for `shapprune.parameters.units.pool_units`.

    Raises:
        ShapPruneError: a share outside (0, 1), no scores, an unknown matrix or layer, not a finite score for each of
            its rows or units, or units that cannot be followed.
    """
    if not 0 < share < 1:
        raise ShapPruneError(f"share {share} is not strictly between 0 and 1")
    if not scores:
        raise ShapPruneError("there are no scores to choose by; give those of a matrix or a layer, or more")
    matrices, pools = first_names(model), Pools(model, example) if isinstance(example, Tensor) else example
    for name, values in scores.items():
        if pools is not None:
            parts = list(pools.of(name, scope=scope).parts)
        elif name in matrices and model.get_parameter(name).dim() > 1:
            parts = row_parts(model, name)
        else:
            raise unknown("matrix", name, [each for each in matrices if model.get_parameter(each).dim() > 1])
        count = len(parts[0].places)
        if values.shape != (count,) or not values.isfinite().all():
            raise ShapPruneError(f"scores of {name!r} are {list(values.shape)}, {count} finite numbers are needed")
        yield parts, values


def highest(values: Tensor, share: float) -> Tensor:
    """The units of the highest scores, ascending: a share of them, rounded to the nearest number, but 1 at least.

    Args:
        values: [n], of equal ones the last are taken first.
        share: in (0, 1).

    Examples:
        >>> import torch
        >>> from shapprune.parameters.scored_parts import highest
        >>> highest(torch.tensor([3.0, 1.0, 4.0, 1.0, 5.0]), 0.4), highest(torch.zeros(3), 0.01)
        (tensor([2, 4]), tensor([2]))
    """
    return torch.argsort(values, stable=True)[-max(1, round(len(values) * share)) :].sort().values.cpu()
