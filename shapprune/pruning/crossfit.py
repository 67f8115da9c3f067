"""What to expect of a smaller network, from images that it was not made with."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from shapprune.core.errors import ShapPruneError
from shapprune.core.progress import track
from shapprune.pruning.divergence import Agreement, agree, divergence, interval, run
from shapprune.pruning.maker import Maker
from shapprune.pruning.selection import Selector

# Learning rates that are tried for distilling.
RATES = (2e-3, 1e-3, 5e-4, 2e-4)
# Parts that images are split into; each is left out once.
FOLDS = 4
# Distilling is tried with this share of the steps.
_TRIAL = 1 / 4


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
        outputs: of the whole network for the images.
        seed: of the parts.
    """

    def __init__(
        self, selector: Selector, maker: Maker, images: Tensor, labels: Tensor | None, outputs: Tensor, seed: int
    ):
        self._selector, self._maker = selector, maker
        self._images, self._labels, self._outputs = images, labels, outputs
        places = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed)).to(images.device)
        self._folds = places.split(-(-len(images) // FOLDS))
        self._orders: dict[int, dict[str, list[int]]] = {}  # fold -> orders found without it

    def judge(self, widths: Mapping[str, int], progress: bool = False) -> Judgement:
        """Look at networks of some widths.

        Args:
            widths: first layer of each group -> how many units stay.
            progress: report progress.
        """
        counts = _Counts(len(self._images))
        rate: float | None = None
        copies = 0
        numbers = range(len(self._folds))
        for number in track(numbers, "looking at images left out") if progress else numbers:
            held = self._folds[number]
            others = torch.cat([part for part in self._folds if part is not held])
            images = self._images[others]
            small, removed = self._maker.remove(self._orders_without(number, others), widths, images)
            counts.add(("removed", 0), *self._look(small, held))
            repaired = {each: copy.deepcopy(small) for each in (self._maker.copies if number == 0 else (copies,))}
            for each, network in repaired.items():
                self._maker.repair(network, removed, images, each)
                counts.add(("repaired", each), *self._look(network, held))
            if number == 0:
                copies = min(repaired, key=lambda each: counts.lost["repaired", each])
            small = repaired[copies]
            steps = round(self._maker.steps(small, images[:1]) * _TRIAL)
            tried = {}
            if steps and (number == 0 or rate is not None):
                rates = RATES if number == 0 or rate is None else (rate,)
                tried = {each: self._distilled(small, removed, images, held, steps, each) for each in rates}
                rate = min(tried, key=lambda each: tried[each][1])
                counts.add(("distilled", 0), *tried[rate])
                if counts.lost["distilled", 0] >= counts.lost["repaired", copies]:
                    rate = None
        same = {"removed": counts.same["removed", 0]}
        if self._maker.repairs:
            same["repaired"] = counts.same["repaired", copies]
        if rate is not None:
            same["distilled"] = counts.same["distilled", 0]
        return Judgement({stage: interval(count, counts.total) for stage, count in same.items()}, copies, rate)

    def _orders_without(self, number: int, others: Tensor) -> dict[str, list[int]]:
        if number not in self._orders:
            labels = None if self._labels is None else self._labels[others]
            self._orders[number] = self._selector.orders(self._images[others], labels)
        return self._orders[number]

    def _look(self, network: nn.Module, places: Tensor) -> tuple[float, float]:
        """On how many of some images a network agrees with the whole one, and the sum of its divergences."""
        outputs = run(network, self._images[places])
        same = agree(self._outputs[places], outputs).double().reshape(len(places), -1).mean(1)
        return float(same.sum()), float(divergence(self._outputs[places], outputs)) * len(places)

    def _distilled(
        self,
        small: nn.Module,
        removed: Mapping[str, Sequence[int]],
        images: Tensor,
        held: Tensor,
        steps: int,
        rate: float,
    ) -> tuple[float, float]:
        """What `_look` says of a network that was distilled; of one that diverged that it agrees nowhere."""
        network = copy.deepcopy(small)
        try:
            self._maker.distil(network, removed, images, steps, rate)
        except ShapPruneError:
            return 0.0, float("inf")
        return self._look(network, held)


@dataclass
class _Counts:
    """Sums over images that were left out.

    Attributes:
        total: how many images there are.
        same: stage and copies of the images -> on how many a network agrees with the whole one.
        lost: the same -> the sum of its divergences.
    """

    total: int
    same: dict[tuple[str, int], float] = field(default_factory=dict)
    lost: dict[tuple[str, int], float] = field(default_factory=dict)

    def add(self, stage: tuple[str, int], same: float, lost: float) -> None:
        """Add what was found on some images."""
        self.same[stage] = self.same.get(stage, 0.0) + same
        self.lost[stage] = self.lost.get(stage, 0.0) + lost
