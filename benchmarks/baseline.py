"""The walk of TorchPruner, written anew: what the engine is measured against.

One coalition at a time: the units of a layer are set to zero one after the other, each time the rest of the network is
run on the whole batch, and the same orders serve all batches. The part before the layer is run once a batch, as with
TorchPruner's ``forward_partial``.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.cases import PRECISION
from shapprune.graph.cut import cut_at
from shapprune.graph.unit_graph import UnitGraph
from shapprune.networks.modes import mode
from shapprune.networks.precision import at_precision


def walk_one_by_one(
    model: nn.Module, layer: str, images: Tensor, labels: Tensor, orders: np.ndarray, batch: int = 100
) -> Tensor:
    """Shapley values of each example along shared orders, float [N, n].

    Args:
        model: the network.
        layer: the layer; its units are zeroed after the non-linearity.
        images: float [N, ...].
        labels: int [N].
        orders: int [K, n].
        batch: images at a time.
    """
    graph = UnitGraph(model, images[:2])
    cut = cut_at(graph.traced, graph.site(layer, "activation"))
    values = []
    with torch.no_grad(), mode(model, training=False), at_precision(PRECISION, images.device):
        for some, truth in zip(images.split(batch), labels.split(batch), strict=True):
            at_site, *beside = cut.before(some)
            # Copies, since what follows may work in place.
            start = F.cross_entropy(cut.after(at_site.clone(), *beside), truth, reduction="none")
            result = at_site.new_zeros(at_site.shape[:2])
            for order in orders.tolist():
                loss, left = start, at_site.clone()
                for unit in order:
                    left[:, unit] = 0
                    after = F.cross_entropy(cut.after(left.clone(), *beside), truth, reduction="none")
                    result[:, unit] += (after - loss) / len(orders)
                    loss = after
            values.append(result)
    return torch.cat(values)
