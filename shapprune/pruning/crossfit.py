"""What to expect of a smaller network, from images that it was not made with."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from shapprune.core.errors import ShapPruneError
from shapprune.core.progress import track
from shapprune.pruning.divergence import Agreement, agree, divergence, interval, run, run_intact
from shapprune.pruning.maker import Maker
from shapprune.pruning.selection import Selector

# Parts that images are split into; each is left out once.
FOLDS = 4
# Learning rates of distilling: the next one is tried where the one before does not help.
RATES = (2e-3, 4e-4)
# Shares of the steps with which distilling is tried: without the first part of the images, and without each other one.
_TRIALS = 1 / 2, 1 / 8
# Changed copies of the images left out on which outputs are compared, as a few images say little.
_COPIES = 8


@dataclass(frozen=True)
class Judgement:
    """What networks made without a part of the images do on these.

    Attributes:
        stages: ``removed``, ``repaired``, ``distilled`` -> the agreement with the whole network after it.
        copies: how many copies of the images help the repair.
        rate: the learning rate with which distilling helps; None if it does not.
    """

    stages: dict[str, Agreement]
    copies: int
    rate: float | None


class Judge:
    """Makes a network again without a part of the images, and looks at it on these; for each part.

    Args:
        selector: puts units in order.
        maker: makes smaller networks.
        images: calibration images, [N, ...].
        labels: of the images, or None.
        seed: of the parts.
    """

    def __init__(self, selector: Selector, maker: Maker, images: Tensor, labels: Tensor | None, seed: int):
        self._selector, self._maker = selector, maker
        self._images, self._labels = images, labels
        places = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed)).to(images.device)
        self._folds = places.split(-(-len(images) // FOLDS))
        self._orders: dict[int, dict[str, list[int]]] = {}  # fold -> orders found without it

    def judge(self, widths: Mapping[str, int], progress: bool = False) -> Judgement:
        """Look at networks of some widths.

        Args:
            widths: first layer of each group -> how many units stay.
            progress: report progress.
        """
        same, copies = dict.fromkeys(("removed", "repaired", "distilled"), 0.0), 0
        rate: float | None = None
        numbers = range(len(self._folds))
        for number in track(numbers, "looking at images left out") if progress else numbers:
            first, held = number == 0, self._held(number)
            others = torch.cat([part for part in self._folds if part is not self._folds[number]])
            images = self._images[others]
            small, removed = self._maker.remove(self._orders_without(number, others), widths, images)
            same["removed"] += held.look(small).same
            repaired = {}
            for each in self._maker.copies if first else (copies,):
                network = copy.deepcopy(small)
                self._maker.repair(network, removed, images, each)
                repaired[each] = network, held.look(network)
            if first:
                copies = min(repaired, key=lambda each: repaired[each][1].lost)
            small, look = repaired[copies]
            same["repaired"] += look.same
            steps = self._maker.steps(small, images[:1])
            rates = RATES if first else () if rate is None else (rate,)
            for tried in rates if steps else ():
                distilled = self._distilled(small, removed, images, round(steps * _TRIALS[not first]), tried)
                found = held.look(distilled)
                if not first or found.lost < look.lost:
                    rate = tried
                    same["distilled"] += found.same
                    break
        stages = ["removed", *["repaired"] * self._maker.repairs, *["distilled"] * (rate is not None)]
        return Judgement({stage: interval(same[stage], len(self._images)) for stage in stages}, copies, rate)

    def _orders_without(self, number: int, others: Tensor) -> dict[str, list[int]]:
        if number not in self._orders:
            labels = None if self._labels is None else self._labels[others]
            self._orders[number] = self._selector.orders(self._images[others], labels)
        return self._orders[number]

    def _held(self, number: int) -> _Held:
        fold = self._folds[number]
        images = self._maker.with_copies(self._images[fold], _COPIES)
        return _Held(len(fold), images, run_intact(self._selector.structure.model, images))

    def _distilled(
        self, small: nn.Module, removed: Mapping[str, Sequence[int]], images: Tensor, steps: int, rate: float
    ) -> nn.Module | None:
        """A copy of a network, distilled; None if it diverged."""
        network = copy.deepcopy(small)
        try:
            self._maker.distil(network, removed, images, steps, rate)
        except ShapPruneError:
            return None
        return network


class _Look(NamedTuple):
    """What a network does on images left out.

    Attributes:
        same: on how many of them it agrees with the whole network.
        lost: the divergence of its outputs from those of the whole network, on them and on changed copies.
    """

    same: float
    lost: float


@dataclass(frozen=True)
class _Held:
    """Images that were left out, and what the whole network says of them.

    Attributes:
        count: how many of the images are no copies; these come first.
        images: [N, ...], and changed copies of them.
        outputs: of the whole network.
    """

    count: int
    images: Tensor
    outputs: Tensor

    def look(self, network: nn.Module | None) -> _Look:
        """Look at a network; one that diverged agrees nowhere."""
        if network is None:
            return _Look(0.0, math.inf)
        outputs = run(network, self.images)
        same = agree(self.outputs[: self.count], outputs[: self.count])
        return _Look(float(same.sum()), float(divergence(self.outputs, outputs)))
