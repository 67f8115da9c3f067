"""The best network for a budget, from a few images without labels.

Units leave that the layers reading them can make up for. A budget is split over layers by what each layer's loss costs
the outputs. Then the weights are fitted anew in one sweep, and the network is distilled on the same images.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn

from shapprune.core.errors import ShapPruneError
from shapprune.graph.counting import count_bytes, count_macs, count_parameters
from shapprune.graph.removing import copy_network
from shapprune.graph.tracing import record_again
from shapprune.networks.latency import measure_latencies
from shapprune.networks.losses import logits_of
from shapprune.networks.modes import outside_inference
from shapprune.pruning.budget import Budget
from shapprune.pruning.crossfit import Judge
from shapprune.pruning.damage import Damage
from shapprune.pruning.divergence import Agreement, run
from shapprune.pruning.maker import How, Maker
from shapprune.pruning.removal import kept_units
from shapprune.pruning.selection import Selector, Structure
from shapprune.pruning.widths import Widths


@dataclass(frozen=True)
class Pruned:
    """A smaller network, and what is known of it.

    Attributes:
        model: the smaller network, in eval mode.
        kept: layer -> original indices of the units left.
        budget: what was asked for.
        agreement: the share of unseen images on which it says the same as the whole network, with a 95 % interval. It
            comes from networks made in the same way without a part of the images. Where the network was trained on
            these images it is a few points too high: it agrees with itself more easily on them.
        stages: the same after units have been ``removed``, after they were ``repaired``, and after they were
            ``distilled``, if that helps.
        cost: ``before`` and ``after``: macs, parameters, bytes and milliseconds.
        left_whole: layer that could lose no units -> why.
        copies: how many changed copies of the images the repair saw beside them.
        distilled: steps and learning rate of distilling; None if there was none.
        seconds: that it took, without what is shared between budgets.
    """

    model: nn.Module
    kept: dict[str, list[int]]
    budget: Budget
    agreement: Agreement
    stages: dict[str, Agreement]
    cost: dict[str, dict[str, float]]
    left_whole: dict[str, str]
    copies: int
    distilled: tuple[int, float] | None
    seconds: float


@outside_inference
def prune(
    model: nn.Module,
    images: Tensor,
    labels: Tensor | None = None,
    *,
    macs: float | None = None,
    parameters: float | None = None,
    megabytes: float | None = None,
    milliseconds: float | None = None,
    ratio: float | None = None,
    **how: Any,
) -> Pruned:
    """Make a network fit a budget, with a few images and no labels.

    Args:
        model: any network of one input that torch.fx or torch.export can follow; it is left as it is.
        images: calibration images like those that the network was trained on, [N, ...], but rather not these; a hundred
            do.
        labels: int [N], for a criterion that looks at labels; by default what the network says.
        macs: multiply-accumulate operations for an image. Here and in the following a number below 1 is a share of what
            the network costs now. Exactly one budget is given.
        parameters: how many there may be.
        megabytes: millions of bytes of parameters and buffers.
        milliseconds: for one image, on the device of the network.
        ratio: the share of the units of every layer that leaves.
        how: further choices, all with defaults that were measured to be best: `shapprune.pruning.maker.How`.

    Raises:
        ShapPruneError: not exactly one budget, one that cannot be met, fewer than two images, or a network that nothing
            can be removed from.

    Examples:
        >>> import shapprune, torch
        >>> from torch import nn
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 3))
        >>> result = shapprune.prune(model, torch.randn(100, 4), macs=0.5, steps=0)
        >>> result.model[0]
        Linear(in_features=4, out_features=16, bias=True)
        >>> result.cost["before"]["macs"], result.cost["after"]["macs"], len(result.kept["0"])
        (224, 112, 16)
        >>> result.agreement.low <= result.agreement.estimate <= result.agreement.high
        True
    """
    budget = Budget(macs=macs, parameters=parameters, megabytes=megabytes, milliseconds=milliseconds, ratio=ratio)
    return Shrinker(model, images, labels, How(**how)).shrink(budget)


@outside_inference
def tradeoff(
    model: nn.Module,
    images: Tensor,
    labels: Tensor | None = None,
    *,
    budgets: Sequence[float] = (0.9, 0.75, 0.5, 0.25),
    measure: str = "macs",
    **how: Any,
) -> list[Pruned]:
    """Make a network fit each of several budgets; what they share is done once.

    Args:
        model: as for `prune`, like the following.
        images: as there.
        labels: as there.
        budgets: shares of what the network costs now, or absolute numbers.
        measure: ``macs``, ``parameters``, ``megabytes``, ``milliseconds`` or ``ratio``.
        how: as there.

    Returns:
        A smaller network for each budget, in their order.

    Raises:
        ShapPruneError: as `prune`; all budgets are checked before anything long starts.

    Examples:
        >>> import shapprune, torch
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 3))
        >>> curve = shapprune.tradeoff(model, torch.randn(100, 4), budgets=(0.75, 0.25), steps=0)
        >>> [each.cost["after"]["macs"] for each in curve]
        [168, 56]
    """
    asked = [Budget.of(measure, amount) for amount in budgets]
    shrinker = Shrinker(model, images, labels, How(**how))
    for budget in asked:
        shrinker.check(budget)
    return [shrinker.shrink(budget) for budget in asked]


class Shrinker:
    """Makes smaller networks of one network for several budgets; what they share is done once.

    Args:
        model: the network; it is left as it is.
        images: calibration images, [N, ...].
        labels: of the images, or None.
        how: how it is made smaller.
        damage: what another one with the same network, images and choices has measured; None to measure it.
        traced: the graph of the network, where it has been recorded already.

    Attributes:
        before: what the network costs: macs, parameters, bytes and milliseconds.

    Raises:
        ShapPruneError: fewer than two images, outputs that are not finite or not [N, classes, ...], or a network that
            nothing can be removed from.
    """

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor | None = None,
        how: How | None = None,
        damage: Mapping[str, Damage] | None = None,
        traced: fx.GraphModule | None = None,
    ):
        self._how = how or How()
        if len(images) < 2:
            raise ShapPruneError(f"{len(images)} calibration images were given, 2 or more are needed")
        device = next((each.device for each in model.parameters()), images.device)
        self._images, self._labels = images.to(device), None if labels is None else labels.to(device)
        self._model = copy_network(model).eval()
        again = None if traced is None else record_again(traced, self._model)
        self._structure = Structure.of(self._model, self._images[:2], self._how.skip, again)
        outputs = logits_of(self._structure.graph.outputs)
        if not isinstance(outputs, Tensor) or outputs.dim() < 2:
            raise ShapPruneError(
                f"{type(model).__name__} must return one tensor, [images, classes] or [sequences, tokens, classes], or"
                " have one among its outputs that is called logits"
            )
        outputs = run(self._model, self._images, self._structure.graph.at_once(50))
        if not torch.isfinite(outputs).all():
            raise ShapPruneError(f"{type(model).__name__} returns NaN or infinity for the calibration images")
        how = self._how
        self._selector = Selector(
            self._structure, how.criterion, how.options, how.aggregate, how.seed, how.multiple, how.progress
        )
        self._maker = Maker(self._structure, how)
        quiet = Selector(self._structure, how.criterion, how.options, how.aggregate, how.seed)
        self._judge = Judge(quiet, self._maker, self._images, self._labels, how.seed)
        self._damage = damage
        self._widths = Widths(self._structure, self._how, lambda: self.damage, self._images[:1])

    @property
    def damage(self) -> Mapping[str, Damage]:
        """What the outputs lose when one layer loses units; measured once."""
        if self._damage is None:
            self._damage = self._selector.damage(self._images, self._labels)
        return self._damage

    def check(self, budget: Budget) -> None:
        """Raise if a budget cannot be met or the network is within it."""
        self._widths.check(budget)

    def shrink(self, budget: Budget, checkpoint: Path | None = None) -> Pruned:
        """Make the network fit a budget.

        Args:
            budget: what it may cost.
            checkpoint: a file from which distilling continues after an interruption; the caller deletes it.

        Raises:
            ShapPruneError: the budget cannot be met, or the network is within it.
        """
        started, progress = time.perf_counter(), self._how.progress
        self.check(budget)
        widths = self._widths.find(budget)
        judgement = self._judge.judge(widths, progress)
        small, removed = self._maker.remove(self._orders(), widths, self._images)
        self._maker.repair(small, removed, self._images, judgement.copies)
        distilled = None
        if judgement.rate is not None:
            distilled = self._maker.steps(small, self._images[:1]), judgement.rate
            self._maker.distil(small, removed, self._images, *distilled, checkpoint, progress)
        stages = judgement.stages
        cost = self._cost(small)
        seconds = time.perf_counter() - started
        agreement = list(stages.values())[-1]
        left_whole = dict(self._structure.left_whole)
        return Pruned(
            *(small, self._kept(small), budget, agreement, stages, cost, left_whole),
            *(judgement.copies, distilled, seconds),
        )

    def _orders(self) -> dict[str, list[int]]:
        """The order in which units leave, made with all images."""
        if self._damage is not None or self._how.allocation == "damage":
            return {layer: each.order for layer, each in self.damage.items()}
        return self._selector.orders(self._images, self._labels)

    def _kept(self, small: nn.Module) -> dict[str, list[int]]:
        kept, units_of = kept_units(small), self._structure.graph.units_of
        names = [name for group in self._structure.groups.values() for name in group]
        return {name: kept.get(name, list(range(units_of(name)))) for name in names}

    def _cost(self, small: nn.Module) -> dict[str, dict[str, float]]:
        """What the network costs ``before`` and ``after``; both are timed in turns."""
        example, networks = self._images[:1], {"before": self._model, "after": small}
        times = measure_latencies(list(networks.values()), example)
        return {
            when: {
                "macs": count_macs(network, example),
                "parameters": count_parameters(network),
                "bytes": count_bytes(network),
                "milliseconds": latency.median_ms,
            }
            for (when, network), latency in zip(networks.items(), times, strict=True)
        }
