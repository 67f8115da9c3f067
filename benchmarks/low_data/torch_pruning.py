"""Torch-Pruning's own pruner with its global ranking: as it comes, or with a repair of this project.

Source: Fang et al. 2023, "DepGraph: towards any structural pruning" (https://arxiv.org/abs/2301.12900).
"""

from __future__ import annotations

import copy
import warnings
from typing import Any

import torch
import torch.nn.functional as F
import torch_pruning as tp
from torch import Tensor, nn

from shapprune.graph.counting import count_macs
from shapprune.graph.operations import LAYERS
from shapprune.graph.prunable import prunable_layers
from shapprune.pruning.removal import remove_units
from shapprune.pruning.repair import repair

_IMPORTANCES = {
    "magnitude": tp.importance.GroupMagnitudeImportance,
    "taylor": tp.importance.GroupTaylorImportance,
    "hessian": tp.importance.GroupHessianImportance,
}
_STEPS = 200  # from all channels to a hundredth of them


class TorchPruning:
    """Layers whose units leave alone lose channels, those that the pruner ranks lowest, until the network fits.

    Args:
        model: the network.
        images: calibration images.
        importance: ``magnitude``.
        repair: see `shapprune.pruning.repair.repair`.
    """

    def __init__(self, model: nn.Module, images: Tensor, *, importance: str, repair: str):
        self._model, self._images = model, images
        self._importance, self._repair = importance, repair
        self._units = {layer.name: layer.units for layer in prunable_layers(model, images[:2])}

    def __call__(self, budget: float) -> nn.Module:
        """The network with this share of its multiply-accumulates."""
        removed = self._choose(budget * count_macs(self._model, self._images))
        small = remove_units(self._model, removed, self._images[:2]).eval()
        return repair(small, self._model, removed, self._images, self._repair)

    def _choose(self, macs: float) -> dict[str, list[int]]:
        """The units that leave, as the pruner chooses them."""
        work, importance = copy.deepcopy(self._model).eval(), _IMPORTANCES[self._importance]()
        modules = dict(work.named_modules())
        kept = {name: list(range(units)) for name, units in self._units.items()}
        with warnings.catch_warnings(), torch.enable_grad():
            warnings.simplefilter("ignore")
            pruner = tp.pruner.BasePruner(
                *(work, self._images[:2], importance),
                global_pruning=True,
                pruning_ratio=0.99,
                iterative_steps=_STEPS,
                ignored_layers=[
                    each for name, each in modules.items() if isinstance(each, LAYERS) and name not in kept
                ],
            )
            names = {module: name for name, module in modules.items()}
            while count_macs(work, self._images) > macs:
                self._differentiate(work, importance)
                for group in pruner.step(interactive=True):
                    dependency, places = group[0]
                    own = kept[names[dependency.target.module]]
                    group.prune()
                    for place in sorted(places, reverse=True):
                        del own[place]
        return {name: sorted(set(range(units)) - set(kept[name])) for name, units in self._units.items()}

    def _differentiate(self, work: nn.Module, importance: Any) -> None:
        """Give the pruner the gradients that its importance looks at; magnitudes are of weights alone."""


class TorchPruningByGradients(TorchPruning):
    """The same by importances that are made of gradients of the loss: ``taylor`` or ``hessian``.

    The pruner's Hessian importance keeps the gradient of the last image only, though it is given that of each.
    """

    def __init__(self, model: nn.Module, images: Tensor, *, labels: Tensor, importance: str, repair: str):
        super().__init__(model, images, importance=importance, repair=repair)
        self._labels = labels

    def _differentiate(self, work: nn.Module, importance: Any) -> None:
        work.zero_grad()
        if self._importance == "taylor":
            F.cross_entropy(work(self._images), self._labels).backward()
            return
        importance.zero_grad()
        for image, label in zip(self._images.split(1), self._labels.split(1), strict=True):
            work.zero_grad()
            F.cross_entropy(work(image), label).backward()
            importance.accumulate_grad(work)
