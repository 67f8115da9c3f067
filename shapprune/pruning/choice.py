"""Which units leave: by a share of each layer, widths, sign, allowed loss, or the size that the network shall have."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from shapprune.core.errors import ShapPruneError, unknown
from shapprune.game.layer_game import LayerGame
from shapprune.graph.counting import count_macs, count_parameters
from shapprune.pruning.curves import removal_curve
from shapprune.pruning.removal import remove_units

Groups = Iterable[Sequence[str]]


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
        multiple: what the number of units kept is a multiple of, rounded up, where the layer has so many.
        groups: layers whose units leave together (`shapprune.prunable_layers`); their scores are added up.

    Returns:
        layer -> indices of the units that leave, in increasing order.

    Raises:
        ShapPruneError: not exactly one of ratio, widths and negative; a ratio outside (0, 1) or a width that the layer
            does not have; a group whose layers are not all here or not of one width.
    """
    if (ratio is not None) + (widths is not None) + negative != 1:
        raise ShapPruneError("give exactly one of ratio, widths and negative")
    if ratio is not None and not 0 < ratio < 1:
        raise ShapPruneError(
            f"ratio {ratio} is not strictly between 0 and 1, the share of a layer's units that can leave"
        )
    if multiple < 1:
        raise ShapPruneError(f"widths can be a multiple of 1 or more, not of {multiple}")
    together = _groups(scores, groups)
    if widths is not None:
        _check_widths(widths, scores, together)
    chosen: dict[str, list[int]] = {}
    for layers in together:
        total = torch.stack([scores[layer].double().cpu() for layer in layers]).sum(0)
        units = len(total)
        if ratio is not None:
            kept = units - int(units * ratio + 1e-9)  # 0.29 of 100 units are 29
        elif widths is not None:
            kept = next((widths[layer] for layer in layers if layer in widths), units)
        else:
            kept = max(1, int((total >= 0).sum()))
        kept = min(units, multiple * math.ceil(kept / multiple))
        removed = sorted(torch.argsort(total, stable=True)[: units - kept].tolist())
        chosen |= {layer: list(removed) for layer in layers}
    return {layer: chosen[layer] for layer in scores}


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
    """Choose units by the smallest ratio, the same for all layers, with which the network is no larger than asked.

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
        ShapPruneError: not exactly one of parameters and macs, or a size that cannot be had without emptying a layer;
            and as `choose_units`.
    """
    if (parameters is None) == (macs is None):
        raise ShapPruneError("give exactly one of parameters and macs")
    target = macs if parameters is None else parameters
    assert target is not None
    groups = [tuple(layers) for layers in groups]

    def chosen(ratio: float) -> dict[str, list[int]]:
        if ratio == 0:
            return {layer: [] for layer in scores}
        return choose_units(scores, ratio=ratio, multiple=multiple, groups=groups)

    def size(ratio: float) -> int:
        small = remove_units(model, chosen(ratio), example)
        return count_macs(small, example) if parameters is None else count_parameters(small)

    # All ratios at which some layer loses a unit more; size falls from one to the next.
    counts = {len(each) for each in scores.values()}
    steps = sorted({gone / units for units in counts for gone in range(units)})
    if (least := size(steps[-1])) > target:
        what = "MACs" if parameters is None else "parameters"
        raise ShapPruneError(
            f"{target:,} {what} cannot be reached: with the least units that a ratio leaves there are {least:,}"
        )
    low, high = -1, len(steps) - 1  # size(steps[high]) fits, size(steps[low]) does not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if size(steps[middle]) <= target else (middle, high)
    return chosen(steps[high])


def choose_for_loss(game: LayerGame, order: Sequence[int] | Tensor, growth: float) -> list[int]:
    """Choose units of a layer in the order given, until the loss has grown by more than is allowed.

    Args:
        game: the layer, with the images on which the loss is measured; the rest of the network is intact.
        order: its units from the first to leave to the last, int [n].
        growth: share of the loss of the whole layer that may come on top of it, e.g. 0.05.

    Returns:
        Indices of the units that leave, in increasing order; never all of them.

    Raises:
        ShapPruneError: a growth that is not a number from 0 on.

    Source: the loss gap of the code of Ancona et al. 2020 (https://github.com/marcoancona/TorchPruner).
    """
    if not 0 <= growth < math.inf:
        raise ShapPruneError(f"the loss may grow by a share of 0 or more, not by {growth}")
    loss = removal_curve(game, order).loss
    too_much = next((gone for gone in range(len(loss)) if loss[gone] > loss[0] * (1 + growth)), len(loss))
    gone = min(too_much, len(loss) - 1) - 1
    return sorted(int(unit) for unit in list(order)[:gone])


def _groups(scores: Mapping[str, Tensor], groups: Groups) -> list[tuple[str, ...]]:
    """The layers by groups: those given, and each other layer by itself."""
    together = []
    for layers in map(tuple, groups):
        here = [layer for layer in layers if layer in scores]
        if not here:
            continue
        if len(here) < len(layers):
            missing = next(layer for layer in layers if layer not in scores)
            raise ShapPruneError(
                f"the units of {here[0]!r} leave together with those of {missing!r}, which has no scores"
            )
        if len({len(scores[layer]) for layer in layers}) > 1:
            raise ShapPruneError(f"layers {', '.join(layers)} of one group differ in their number of units")
        together.append(layers)
    grouped = {layer for layers in together for layer in layers}
    return [*together, *((layer,) for layer in scores if layer not in grouped)]


def _check_widths(widths: Mapping[str, int], scores: Mapping[str, Tensor], together: Sequence[Sequence[str]]) -> None:
    for layer, width in widths.items():
        if layer not in scores:
            raise unknown("layer", layer, scores)
        if not 0 < width <= len(scores[layer]):
            raise ShapPruneError(f"layer {layer!r} has {len(scores[layer])} units and cannot keep {width}")
    for layers in together:
        given = {widths[layer] for layer in layers if layer in widths}
        if len(given) > 1:
            raise ShapPruneError(f"layers {', '.join(layers)} leave together and cannot keep {sorted(given)} units")
