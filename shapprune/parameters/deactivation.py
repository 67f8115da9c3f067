"""Networks in which the units of the lowest scores are zero."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from shapprune.parameters.scored_parts import scored_parts
from shapprune.parameters.units import Pools, Scope


def deactivate(
    model: nn.Module,
    scores: Mapping[str, Tensor],
    share: float,
    example: Tensor | Pools | None = None,
    *,
    scope: Scope = "all",
) -> nn.Module:
    """Set the lowest share of the rows of every matrix, or of the units of every layer, to zero.

    Args:
        model: the network; it is left as it is.
        scores: high = keep; of equal ones the first leave first. Without ``example`` a matrix -> a score for each of
            its rows, [rows], as `shapprune.parameters.pooling.pool_rows` makes them: the row is zeroed, with its bias,
            and a BatchNorm that follows it is not. With ``example`` a layer -> a score for each of its units, [n].
        share: of the rows or units of each, in (0, 1), rounded down.
        example: images or tokens, [N, ...], that the network can run on; or, where it is done several times, the
            `shapprune.parameters.units.Pools` of the network.
        scope: of a unit, which parameters are zeroed: ``all`` that leave with it, which has the effect of removing it,
            or the ``rows`` that make it in its layer alone.

    Returns:
        A copy of the network. A shared weight is zeroed in all its uses.

    Raises:
        ShapPruneError: a share outside (0, 1), another scope, no scores, an unknown matrix or layer, not a finite score
            for each of its rows or units, or units that cannot be followed.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from shapprune import deactivate
        >>> model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
        >>> scores = torch.tensor([3.0, 1.0, 4.0, 2.0])
        >>> rows = deactivate(model, {"0.weight": scores}, share=0.5)
        >>> rows[0].weight.any(1).tolist(), rows[0].bias.bool().tolist()
        ([True, False, True, False], [True, False, True, False])
        >>> neurons = deactivate(model, {"0": scores}, share=0.5, example=torch.rand(2, 2))
        >>> neurons[2].weight.bool().tolist()
        [[True, False, True, False]]

    Source: deactivation at inference of Chu et al. 2025, where it is rows of each matrix that leave.
    """
    left = copy.deepcopy(model)
    for parts, values in scored_parts(model, scores, share, example, scope):
        lowest = torch.argsort(values, stable=True)[: int(len(values) * share)].cpu()
        with torch.no_grad():
            for part in parts:
                parameter = left.get_parameter(part.name)
                places = part.places[lowest].flatten().to(parameter.device)
                parameter.index_fill_(part.axis, places, 0)
    return left
