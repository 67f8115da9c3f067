"""AsymInChange by its published rule: units added greedily, readers reweighted, layers one after the other.

Source: El Halabi, Srinivas and Lacoste-Julien 2022, "Data-efficient structured pruning via submodular optimization"
(https://arxiv.org/abs/2203.04940): a layer keeps the units whose inputs to the next layer, as the smaller network has
them, stand best for what that layer gets in the whole network; its weights are fitted to them by least squares, without
an intercept. The budget is split so that each layer alone does at most the same harm, and this is as little as it can.
Harm is the divergence of the outputs here; the authors take the accuracy on labelled images.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from shapprune.graph.dependents import Dependent
from shapprune.graph.rows import Linear, input_rows
from shapprune.pruning.damage import Damage
from shapprune.pruning.divergence import divergence, run
from shapprune.pruning.removal import remove_units
from shapprune.pruning.selection import Structure

# Shares of the units at which the harm of a layer is measured.
_LEVELS = 8
# In units of the mean square of the inputs; so that Gram matrices can be inverted.
_RIDGE = 1e-6


class AsymInChange:
    """Makes a network smaller by this rule.

    Args:
        model: the network, in eval mode.
        images: calibration images, [N, ...].
    """

    @torch.no_grad()
    def __init__(self, model: nn.Module, images: Tensor):
        self._model, self._images = model, images
        self._structure = Structure.of(model, images[:2])
        self._harm = {layer: self._measure(layer) for layer in self._structure.groups}

    def within(self, macs: float) -> nn.Module:
        """The network with at most so many multiply-accumulates."""
        limits = sorted({loss for each in self._harm.values() for loss in each.values()})
        sizes, low, high = self._structure.sizes, 0, len(limits) - 1
        while low < high:  # the least harm with which the network fits
            middle = (low + high) // 2
            fits = sizes.of(self._widths(limits[middle]))["macs"] <= macs
            low, high = (low, middle) if fits else (middle + 1, high)
        return self._prune(self._widths(limits[low]))

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

    @torch.no_grad()
    def _prune(self, widths: Mapping[str, int]) -> nn.Module:
        """The network with some widths, layers one after the other."""
        work, gone = copy.deepcopy(self._model), {}
        for layer, width in widths.items():
            kept = self._fit(work, layer, width)[:width]
            left = sorted(set(range(self._structure.sizes.full[layer])) - set(kept))
            gone |= {name: left for name in self._structure.groups[layer] if left}
        return remove_units(work, gone, self._images[:2]).eval()

    def _fit(self, work: nn.Module, layer: str, width: int) -> list[int]:
        """Refit, in place, the layers that read a layer to some of its units; return the order in which units came."""
        readers = self._structure.readers[layer]
        games = [_Reader(self._model, work, each, self._images) for each in readers]
        chosen: list[int] = []
        while len(chosen) < width:
            gains = torch.stack([each.gains() for each in games]).sum(0)
            gains[chosen] = -torch.inf
            chosen.append(int(gains.argmax()))
            for each in games:
                each.add(chosen[-1])
        for each in games:
            each.write(chosen)
        return chosen


class _Reader:
    """A layer that reads units: its inputs x in the smaller network, and its outputs y in the whole one."""

    def __init__(self, model: nn.Module, work: nn.Module, reader: Dependent, images: Tensor):
        own, whole = work.get_submodule(reader.name), model.get_submodule(reader.name)
        assert isinstance(own, Linear)
        kernel = own.weight[0, 0].numel() if isinstance(own, nn.Conv2d) else 1
        self._layer = own
        self._places = (reader.places[:, :, None] * kernel + torch.arange(kernel)).flatten(1)
        weights = whole.get_parameter("weight").double().flatten(1).mT
        self._gram = torch.zeros(len(weights), len(weights), dtype=torch.float64)
        self._cross = torch.zeros(weights.shape, dtype=torch.float64)
        for batch in images.split(25):
            x = input_rows(own, _inputs(work, reader.name, batch)).flatten(0, 1).double()
            y = input_rows(own, _inputs(model, reader.name, batch)).flatten(0, 1).double() @ weights
            self._gram += x.mT @ x
            self._cross += x.mT @ y
        self._gram.diagonal().add_(_RIDGE * float(self._gram.diagonal().mean()) or 1.0)
        self._rest, self._missing = self._gram.clone(), self._cross.clone()  # what the units chosen do not explain

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
