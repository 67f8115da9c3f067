"""Which units leave: those with the lowest scores, as many as a target says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from shapprune.game.protocol import PayoffGame
from shapprune.pruning.allocation import allocate
from shapprune.pruning.curves import removal_curve
from shapprune.pruning.target import Groups, Target, require_one


def choose_units(
    scores: Mapping[str, Tensor],
    *,
    ratio: float | None = None,
    widths: Mapping[str, int] | None = None,
    negative: bool = False,
    multiple: int = 1,
    groups: Groups = (),
) -> dict[str, list[int]]:
    """Choose the units of each layer that leave, the lowest scores first; of equal scores the lower index.

    Args:
        scores: layer -> score of each unit, [n]; high = keep. A layer that is not here is left whole.
        ratio: share of the units of each layer that leaves, rounded down to whole units.
        widths: or layer -> how many units it keeps; the layers that are not here are left whole.
        negative: or all units with a negative score leave, but for the highest of a layer.
        multiple: the number of units kept is rounded up to a multiple of it, where the layer has so many.
        groups: layers whose units leave together (`shapprune.prunable_layers`); their scores are added up.

    Returns:
        Layer -> indices of the units that leave, in increasing order.

    Raises:
        ShapPruneError: not exactly one of ratio, widths and negative; a ratio outside (0, 1) or a width that the layer
            does not have; a group whose layers are not all here or not of one width.

    Examples:
        >>> import shapprune
        >>> import torch
        >>> scores = {"conv1": torch.tensor([0.3, -0.1, 0.2, 0.0]), "fc": torch.tensor([0.5, 0.1, 0.4])}
        >>> shapprune.choose_units(scores, ratio=0.5)
        {'conv1': [1, 3], 'fc': [1]}
        >>> shapprune.choose_units(scores, negative=True)
        {'conv1': [1], 'fc': []}
    """
    require_one(ratio=ratio, widths=widths, negative=negative)
    target = Target(ratio=ratio, widths=widths, negative=negative, multiple=multiple, groups=groups)
    return lowest_units(scores, target, target.keep(_count_units(scores)))


def choose_for_size(
    model: nn.Module,
    scores: Mapping[str, Tensor],
    example: Tensor,
    *,
    parameters: int | None = None,
    macs: int | None = None,
    multiple: int = 1,
    groups: Groups = (),
) -> dict[str, list[int]]:
    """Choose units by the smallest ratio, the same for all layers, with which the network is small enough.

    Args:
        model: the network.
        scores: as for `choose_units`.
        example: images, [N, ...], that the network can run on.
        parameters: how many it may have.
        macs: or how many multiply-accumulate operations an image may take.
        multiple: as for `choose_units`.
        groups: as for `choose_units`.

    Returns:
        As `choose_units`; nothing leaves where the network is small enough as it is.

    Raises:
        ShapPruneError: not exactly one of parameters and macs, or a size that cannot be reached without emptying a
            layer; and as `choose_units`.

    Examples:
        >>> import shapprune
        >>> import torch
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
        >>> shapprune.choose_for_size(model, {"0": torch.arange(6.0)}, torch.zeros(1, 4), macs=20)
        {'0': [0, 1, 2]}
    """
    require_one(parameters=parameters, macs=macs)
    target = Target(parameters=parameters, macs=macs, multiple=multiple, groups=groups)
    return lowest_units(scores, target, allocate(target, _count_units(scores), model, example))


def choose_for_loss(game: PayoffGame, order: Sequence[int] | Tensor, growth: float) -> list[int]:
    """Choose units of a layer along a removal order, until the loss would grow by more than is allowed.

    Args:
        game: the layer, with the images on which the loss is measured; the rest of the network is intact.
        order: its units from the first to leave to the last, int [n].
        growth: share by which the loss of the whole layer may grow, e.g. 0.05.

    Returns:
        Indices of the units that leave, in increasing order; never all of them.

    Raises:
        ShapPruneError: a growth that is not a number from 0 on.

    Source: the loss gap of the code of Ancona et al. 2020 (https://github.com/marcoancona/TorchPruner).

    Examples:
        >>> import shapprune
        >>> import torch
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
        >>> game = shapprune.LayerGame(model, "0", torch.randn(8, 4), torch.arange(8) % 2)
        >>> shapprune.choose_for_loss(game, [3, 0, 1, 2, 4, 5], growth=100)  # any loss is allowed
        [0, 1, 2, 3, 4]
    """
    Target(loss_growth=growth)  # refuses what is no growth
    loss = removal_curve(game, order).loss
    limit = loss[0] * (1 + growth)
    too_much = next((gone for gone in range(len(loss)) if loss[gone] > limit), len(loss))
    gone = min(too_much, len(loss) - 1) - 1
    return sorted(int(unit) for unit in list(order)[:gone])


def lowest_units(
    scores: Mapping[str, Tensor], target: Target, widths: Mapping[str, int] | None
) -> dict[str, list[int]]:
    """Choose the units with the lowest scores; of equal scores the lower index.

    Args:
        scores: layer -> score of each unit, [n]; high = keep.
        target: says which layers lose units together.
        widths: layer -> how many units it keeps (`shapprune.pruning.allocation.allocate`); None keeps those whose
            score is not negative, and in any case the highest.

    Returns:
        Layer -> indices of the units that leave, in increasing order.
    """
    chosen: dict[str, list[int]] = {}
    for layers in target.together(_count_units(scores)):
        total = torch.stack([scores[layer].double().cpu() for layer in layers]).sum(0)
        not_negative = max(1, int((total >= 0).sum()))
        kept = target.round_up(not_negative, len(total)) if widths is None else widths[layers[0]]
        removed = sorted(torch.argsort(total, stable=True)[: len(total) - kept].tolist())
        chosen |= {layer: list(removed) for layer in layers}
    return {layer: chosen[layer] for layer in scores}


def _count_units(scores: Mapping[str, Tensor]) -> dict[str, int]:
    return {layer: len(values) for layer, values in scores.items()}
