"""Networks that lose units of all layers at once.

Source: Adamczewski et al. 2024, who train them again afterwards (`shapprune.networks.training.fit`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from shapprune.core.errors import ShapPruneError
from shapprune.pruning.choice import Groups, choose_for_size, choose_units
from shapprune.pruning.removal import remove_units


def compress(
    model: nn.Module,
    scores: Mapping[str, Tensor],
    example: Tensor,
    *,
    ratio: float | None = None,
    widths: Mapping[str, int] | None = None,
    parameters: int | None = None,
    macs: int | None = None,
    multiple: int = 1,
    skip: Sequence[str] = (),
    groups: Groups = (),
) -> nn.Module:
    """A smaller network, by the scores that the units have in the whole one.

    Args:
        model: the trained network; it is left as it is.
        scores: layer -> score of each unit, [n]; high = keep.
        example: images, [N, ...], that the network can run on.
        ratio: share of the units of each layer that leaves.
        widths: or layer -> how many units it keeps.
        parameters: or how many parameters the network may have.
        macs: or how many multiply-accumulate operations an image may take.
        multiple: what the number of units kept is a multiple of, rounded up.
        skip: layers that are left whole.
        groups: layers whose units leave together.

    Raises:
        ShapPruneError: not exactly one of them; and as `shapprune.pruning.choice.choose_units` and
            `shapprune.pruning.choice.choose_for_size`.
    """
    if sum(each is not None for each in (ratio, widths, parameters, macs)) != 1:
        raise ShapPruneError("give exactly one of ratio, widths, parameters and macs")
    scored = {layer: each for layer, each in scores.items() if layer not in skip}
    if parameters is None and macs is None:
        chosen = choose_units(scored, ratio=ratio, widths=widths, multiple=multiple, groups=groups)
    else:
        chosen = choose_for_size(
            model, scored, example, parameters=parameters, macs=macs, multiple=multiple, groups=groups
        )
    return remove_units(model, chosen, example)
