"""Methods of others, run by their published rules: layers lose units one after the other, and readers are fitted.

Sources: El Halabi, Srinivas and Lacoste-Julien 2022, "Data-efficient structured pruning via submodular optimization"
(https://arxiv.org/abs/2203.04940); He, Zhang and Sun 2017, "Channel pruning for accelerating very deep neural networks"
(https://arxiv.org/abs/1707.06168).
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from sklearn.linear_model import lars_path_gram
from torch import Tensor, nn

from shapprune.graph.counting import count_macs
from shapprune.graph.dependents import Dependent
from shapprune.graph.rows import Linear, input_rows
from shapprune.pruning.allocation import uniform_within
from shapprune.pruning.damage import Damage
from shapprune.pruning.divergence import divergence, run
from shapprune.pruning.removal import remove_units
from shapprune.pruning.selection import Structure

# Shares of the units at which the harm of a layer is measured.
_LEVELS = 8
# In units of the mean square of the inputs; so that Gram matrices can be inverted.
_RIDGE = 1e-6


class Rival(ABC):
    """Makes a network smaller, layers one after the other, each on what the smaller network puts out.

    It is called with a share of the network's multiply-accumulates.

    Args:
        model: the network, in eval mode.
        images: calibration images, [N, ...].
    """

    def __init__(self, model: nn.Module, images: Tensor):
        self._model, self._images = model, images
        self._structure = Structure.of(model, images[:2])

    def __call__(self, budget: float) -> nn.Module:
        """The network with this share of its multiply-accumulates."""
        return self.within(budget * count_macs(self._model, self._images))

    @abstractmethod
    def within(self, macs: float) -> nn.Module:
        """The network with at most so many multiply-accumulates."""

    @abstractmethod
    def _choose(self, readers: Sequence[_Reader], width: int) -> list[int]:
        """The units that stay, in the order in which they came."""

    @torch.no_grad()
    def prune(self, widths: Mapping[str, int]) -> nn.Module:
        """The network with some widths, by the first layer of each group."""
        work, gone = copy.deepcopy(self._model), dict[str, list[int]]()
        for layer, width in widths.items():
            left = sorted(set(range(self._structure.sizes.full[layer])) - set(self._fit(work, layer, width)))
            gone |= {name: left for name in self._structure.groups[layer] if left}
        return remove_units(work, gone, self._images[:2]).eval()

    def _fit(self, work: nn.Module, layer: str, width: int) -> list[int]:
        """Refit, in place, the layers that read a layer to some of its units; return these as they came."""
        readers = [_Reader(self._model, work, each, self._images) for each in self._structure.readers[layer]]
        chosen = self._choose(readers, width)
        for each in readers:
            each.write(chosen)
        return chosen


class AsymInChange(Rival):
    """Units are added greedily that stand best for what the readers get in the whole network; no intercept.

    The budget is split so that each layer alone does at most the same harm, and this is as little as it can. Harm is
    the divergence of the outputs here; the authors take the accuracy on labelled images.

    Source: El Halabi et al. 2022.
    """

    @torch.no_grad()
    def __init__(self, model: nn.Module, images: Tensor):
        super().__init__(model, images)
        self._harm = {layer: self._measure(layer) for layer in self._structure.groups}

    def within(self, macs: float) -> nn.Module:
        """The network with at most so many multiply-accumulates."""
        limits = sorted({loss for each in self._harm.values() for loss in each.values()})
        sizes, low, high = self._structure.sizes, 0, len(limits) - 1
        while low < high:  # the least harm with which the network fits
            middle = (low + high) // 2
            fits = sizes.of(self._widths(limits[middle]))["macs"] <= macs
            low, high = (low, middle) if fits else (middle + 1, high)
        return self.prune(self._widths(limits[low]))

    def _widths(self, limit: float) -> dict[str, int]:
        """The least widths that each do at most so much harm alone."""
        return {
            layer: min(width for width, loss in each.items() if loss <= limit) for layer, each in self._harm.items()
        }

    def _measure(self, layer: str) -> dict[int, float]:
        """Number of units left -> harm of this layer alone."""
        units, whole = self._structure.sizes.full[layer], run(self._model, self._images)
        work = copy.deepcopy(self._model)
        order = self._fit(work, layer, units)
        measured = {units: 0.0}
        for width in sorted({max(1, round(units * share / _LEVELS)) for share in range(1, _LEVELS)}):
            work = copy.deepcopy(self._model)
            self._fit(work, layer, width)
            measured[width] = float(divergence(whole, run(work, self._images)))
        return Damage(order[::-1], measured, [j / units for j in range(units + 1)]).table()

    def _choose(self, readers: Sequence[_Reader], width: int) -> list[int]:
        chosen: list[int] = []
        while len(chosen) < width:
            gains = torch.stack([each.gains() for each in readers]).sum(0)
            gains[chosen] = -torch.inf
            chosen.append(int(gains.argmax()))
            for each in readers:
                each.add(chosen[-1])
        return chosen


class ChannelPruning(Rival):
    """Units are chosen by the lasso on what each puts into the readers; all layers lose the same ratio.

    Source: He et al. 2017, section 3.1, with the same ratio for all layers as in their residual networks.
    """

    def within(self, macs: float) -> nn.Module:
        """The network with at most so many multiply-accumulates."""
        full, sizes = self._structure.sizes.full, self._structure.sizes
        widths, _ = uniform_within(full, lambda widths: float(sizes.of(widths)["macs"]), macs)
        if widths is None:
            raise ValueError(f"no ratio brings the network to {macs:,.0f} multiply-accumulates")
        return self.prune(widths)

    def _choose(self, readers: Sequence[_Reader], width: int) -> list[int]:
        parts = [each.shares() for each in readers]
        gram, cross = (torch.stack(each).sum(0).numpy() for each in zip(*parts, strict=True))
        _, _, path = lars_path_gram(Xy=cross, Gram=gram, n_samples=1, method="lasso", return_path=True)
        fits = [step for step in range(path.shape[1]) if np.count_nonzero(path[:, step]) <= width]
        weight = np.abs(path[:, max(fits)])
        return [int(unit) for unit in (-weight).argsort(kind="stable")[:width]]


class _Reader:
    """A layer that reads units: its inputs x in the smaller network, and its outputs y in the whole one."""

    def __init__(self, model: nn.Module, work: nn.Module, reader: Dependent, images: Tensor):
        own, whole = work.get_submodule(reader.name), model.get_submodule(reader.name)
        assert isinstance(own, Linear)
        kernel = own.weight[0, 0].numel() if isinstance(own, nn.Conv2d) else 1
        self._layer = own
        self._places = (reader.places[:, :, None] * kernel + torch.arange(kernel)).flatten(1)
        self._before = weights = whole.get_parameter("weight").double().flatten(1).mT
        self._gram = torch.zeros(len(weights), len(weights), dtype=torch.float64)
        self._cross = torch.zeros(weights.shape, dtype=torch.float64)
        for batch in images.split(25):
            x = input_rows(own, _inputs(work, reader.name, batch)).flatten(0, 1).double()
            y = input_rows(own, _inputs(model, reader.name, batch)).flatten(0, 1).double() @ weights
            self._gram += x.mT @ x
            self._cross += x.mT @ y
        self._gram.diagonal().add_(_RIDGE * float(self._gram.diagonal().mean()) or 1.0)
        self._rest, self._missing = self._gram.clone(), self._cross.clone()  # what the units chosen do not explain

    def shares(self) -> tuple[Tensor, Tensor]:
        """Products of what the units put into the outputs with each other, [n, n], and with the target, [n]."""
        gram = self._gram * (self._before @ self._before.mT)
        blocks = gram[self._places[:, None, :, None], self._places[None, :, None, :]].sum((2, 3))
        return blocks, (self._before * self._cross).sum(1)[self._places].sum(1)

    def gains(self) -> Tensor:
        """What each unit would explain of what is missing, [n]; nothing that is said of those chosen counts."""
        blocks = self._rest[self._places[:, :, None], self._places[:, None, :]]
        blocks = blocks + 1e-9 * torch.eye(blocks.shape[1]) * self._gram.diagonal().mean()
        missing = self._missing[self._places]
        return (missing * torch.linalg.solve(blocks, missing)).sum((1, 2))

    def add(self, unit: int) -> None:
        """Choose a unit."""
        columns = self._rest[:, self._places[unit]]
        onto = torch.linalg.solve(
            columns[self._places[unit]], torch.cat([columns.mT, self._missing[self._places[unit]]], 1)
        )
        self._rest = self._rest - columns @ onto[:, : len(columns)]
        self._missing = self._missing - columns @ onto[:, len(columns) :]

    def write(self, chosen: list[int]) -> None:
        """Give the layer the weights that are best with these units; the others get none."""
        features = self._places[chosen].flatten()
        weights = torch.zeros_like(self._cross)
        weights[features] = torch.linalg.solve(self._gram[features[:, None], features], self._cross[features])
        self._layer.weight.copy_(weights.mT.reshape(self._layer.weight.shape))


def _inputs(network: nn.Module, name: str, images: Tensor) -> Tensor:
    """The inputs of a layer."""
    seen: list[Tensor] = []
    hook = network.get_submodule(name).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        network(images)
    finally:
        hook.remove()
    return seen[0]
