"""Removal curves: what a layer's removal order costs, unit by unit, and the area under it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from shapprune.core.errors import ShapPruneError, unknown
from shapprune.game.payoffs import require_finite
from shapprune.game.protocol import PayoffGame


@dataclass(frozen=True)
class RemovalCurve:
    """Loss and accuracy along a removal order, the rest of the network intact.

    Attributes:
        layer: the layer's name.
        loss: mean cross-entropy after the first j units of the order are gone, float64 [n + 1].
        accuracy: share of right answers, float64 [n + 1].
    """

    layer: str
    loss: np.ndarray
    accuracy: np.ndarray

    @property
    def units(self) -> int:
        """How many units the layer has, n."""
        return len(self.loss) - 1


def removal_curve(game: PayoffGame, order: Sequence[int] | torch.Tensor | np.ndarray) -> RemovalCurve:
    """Remove the units of a layer one after the other and measure what is left.

    Args:
        game: the layer, with the images to evaluate on.
        order: the units from the first to leave to the last, int [n].

    Raises:
        ShapPruneError: an order that does not hold each unit once.
    """
    steps = torch.as_tensor(order).cpu().long()
    if steps.dim() != 1 or not torch.equal(steps.sort().values, torch.arange(game.units)):
        raise ShapPruneError(f"a removal order holds each of the {game.units} units of {game.layer!r} once")
    ranks = torch.argsort(steps)
    kept = ranks[None] >= torch.arange(game.units + 1)[:, None]
    loss, accuracy = game.loss_and_accuracy(kept)
    require_finite(loss.T, f"removal curve of layer {game.layer!r}")
    return RemovalCurve(game.layer, loss.double().mean(1).cpu().numpy(), accuracy.double().mean(1).cpu().numpy())


def auc(curves: Sequence[RemovalCurve], of: str = "loss") -> float:
    """Area under the removal curves of one or more layers, per unit; lower is better.

    Args:
        curves: one curve for each layer.
        of: ``loss``: mean rise of the loss over all removals; ``accuracy``: mean drop of the accuracy.

    Source: Eq. 6 of Ancona et al. 2020: the sum over layers and positions of the loss minus the loss of the intact
    network, over the number of units of all layers.
    """
    if of not in ("loss", "accuracy"):
        raise unknown("curve", of, ("loss", "accuracy"))
    rises = [curve.loss - curve.loss[0] if of == "loss" else curve.accuracy[0] - curve.accuracy for curve in curves]
    return float(sum(rise.sum() for rise in rises) / sum(curve.units for curve in curves))
