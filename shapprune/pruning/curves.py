"""Removal curves: loss and accuracy as the units of a layer leave one by one, and the area under them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from shapprune.core.errors import ShapPruneError, unknown
from shapprune.game.payoffs import require_finite
from shapprune.game.protocol import PayoffGame


@dataclass(frozen=True)
class RemovalCurve:
    """Loss and accuracy along a removal order; the rest of the network is intact.

    Attributes:
        layer: the layer's name.
        loss: mean cross-entropy after the first units of the order are gone, float64 [k].
        accuracy: share of correct predictions, float64 [k].
        removed: how many units are gone each time, ascending from 0 to all, int [k]; by default 0, 1, ... n.
    """

    layer: str
    loss: np.ndarray
    accuracy: np.ndarray
    removed: np.ndarray = field(default_factory=lambda: np.arange(0))

    def __post_init__(self) -> None:
        if not len(self.removed):
            object.__setattr__(self, "removed", np.arange(len(self.loss)))

    @property
    def units(self) -> int:
        """The number of units of the layer, n."""
        return int(self.removed[-1])


def removal_curve(
    game: PayoffGame, order: Sequence[int] | torch.Tensor | np.ndarray, points: int | None = None
) -> RemovalCurve:
    """Measure loss and accuracy as the units of a layer are removed one by one.

    Args:
        game: the layer, with the images to evaluate on.
        order: the units from the first to leave to the last, int [n].
        points: at how many numbers of gone units it is measured, evenly spaced from none to all; by default at each.

    Raises:
        ShapPruneError: an order that does not hold each unit once, or fewer than two points.

    Examples:
        >>> import shapprune
        >>> import torch
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
        >>> game = shapprune.LayerGame(model, "0", torch.randn(8, 4), torch.arange(8) % 2)
        >>> curve = shapprune.removal_curve(game, shapprune.score(game, "taylor").order())
        >>> curve.loss.shape  # with 0, 1, ... 6 units gone
        (7,)
        >>> shapprune.removal_curve(game, range(6), points=3).removed.tolist()
        [0, 3, 6]
    """
    steps = torch.as_tensor(order).cpu()
    whole = not (steps.is_floating_point() or steps.dtype == torch.bool)
    if steps.dim() != 1 or not whole or not torch.equal(steps.sort().values, torch.arange(game.units)):
        raise ShapPruneError(f"a removal order holds each of the {game.units} units of {game.layer!r} once")
    if points is not None and points < 2:
        raise ShapPruneError(f"a removal curve has 2 or more points, not {points}")
    ranks = torch.argsort(steps)
    removed = np.linspace(0, game.units, min(points or game.units + 1, game.units + 1)).round().astype(int)
    kept = ranks[None] >= torch.from_numpy(removed)[:, None]
    loss, accuracy = game.loss_and_accuracy(kept)
    require_finite(loss.T, f"removal curve of layer {game.layer!r}")
    means = [each.double().mean(1).cpu().numpy() for each in (loss, accuracy)]
    return RemovalCurve(game.layer, means[0], means[1], removed)


def auc(curves: Sequence[RemovalCurve], measure: str = "loss") -> float:
    """Compute the area under the removal curves of one or more layers, per unit; lower is better.

    Args:
        curves: one curve for each layer.
        measure: ``loss``: mean rise of the loss over all removals; ``accuracy``: mean drop of the accuracy.

    Source: Eq. 6 of Ancona et al. 2020: the sum over layers and positions of the loss minus the loss of the intact
    network, over the number of units of all layers. Between points that were measured a curve is a straight line.

    Raises:
        ShapPruneError: another measure.

    Examples:
        >>> import numpy as np
        >>> import shapprune
        >>> curve = shapprune.RemovalCurve("fc", loss=np.array([0.5, 0.5, 1.5]), accuracy=np.array([1.0, 1.0, 0.5]))
        >>> shapprune.auc([curve])  # the loss rises by 0 and by 1, over 2 units
        0.5
        >>> shapprune.auc([curve], measure="accuracy")
        0.25
    """
    if measure not in ("loss", "accuracy"):
        raise unknown("measure", measure, ("loss", "accuracy"))
    return float(sum(_rises(curve, measure).sum() for curve in curves) / sum(curve.units for curve in curves))


def _rises(curve: RemovalCurve, measure: str) -> np.ndarray:
    """The rise of the loss, or the drop of the accuracy, with 0, 1, ... n units gone."""
    rise = curve.loss - curve.loss[0] if measure == "loss" else curve.accuracy[0] - curve.accuracy
    return np.interp(np.arange(curve.units + 1), curve.removed, rise)
