"""Which units leave a network, as the arguments of ``prune`` say it, and the network without them."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from shapprune.commands.arguments import mapping
from shapprune.commands.scoring import Task, check_criterion, check_layers, read_folder
from shapprune.core.errors import ShapPruneError
from shapprune.pruning.choice import choose_for_loss, choose_for_size, choose_units
from shapprune.pruning.removal import remove_units
from shapprune.pruning.repair import repair
from shapprune.shapley.scores import UnitScores

# What the manifest of a smaller network tells of the settings of its scores.
OF_SCORES = ("criterion", "options", "payoff", "images", "seed", "digest")


@dataclass(frozen=True)
class Choice:
    """Which units leave, as far as it is known before anything is scored.

    Attributes:
        steps: the layers that lose units in each step, in the order of the steps.
        widths: layer -> how many units it keeps; None where the scores decide.
        growth: by which share the loss may grow with each layer; None where it does not decide.
        multiple: what the number of units kept is a multiple of.
        groups: layers whose units leave together.
        repair: what is done to the network after each step (`shapprune.pruning.repair.repair`).
        stored: layer -> its scores, where they were made before.
        facts: what a manifest says of it.
    """

    steps: Sequence[Sequence[str]]
    widths: Mapping[str, int] | None
    growth: float | None
    multiple: int
    groups: Sequence[tuple[str, ...]]
    repair: str
    stored: Mapping[str, UnitScores]
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Pruned:
    """A network without the units that were chosen.

    Attributes:
        model: the network.
        facts: what a manifest says of how it was made.
    """

    model: nn.Module
    facts: Mapping[str, Any]


def plan_choice(given: argparse.Namespace, task: Task) -> Choice:
    """Check what the arguments ask for, and find out what does not depend on scores.

    Raises:
        ShapPruneError: something that this network cannot have.
    """
    check_layers(given.skip, task)
    stored, settings = read_folder(given.scores, task) if given.scores is not None else ({}, task.settings)
    groups = [
        group
        for group in task.groups
        if not set(group) & set(given.skip) and (not stored or all(layer in stored for layer in group))
    ]
    if not groups:
        raise ShapPruneError("no layer is left to lose units: all are in --skip, or have no scores")
    units = {layer: task.units[layer] for group in groups for layer in group}
    if given.loss_growth is not None:
        if not 0 <= given.loss_growth < math.inf:
            raise ShapPruneError(f"--loss-growth {given.loss_growth} is not a share of 0 or more, such as 0.05")
        if together := [group for group in groups if len(group) > 1]:
            raise ShapPruneError(
                f"--loss-growth removes units of one layer at a time, but those of {', '.join(together[0])} leave"
                " together; leave --coupled away"
            )
    widths = _widths(given, task, units, groups)
    if widths is not None:  # what keeps all its units needs no scores
        groups = [group for group in groups if widths[group[0]] < units[group[0]]]
    check_criterion([] if stored else [layer for group in groups for layer in group], task)
    sequential = given.scores is None and given.sequential is not False
    names = ("ratio", "widths", "negative", "loss_growth", "parameters", "macs")
    chosen_by = {name: value for name in names if (value := getattr(given, name)) is not None and value is not False}
    facts = {
        "scores": {name: settings[name] for name in OF_SCORES} | {"aggregate": task.aggregate},
        "choice": chosen_by | {"multiple": given.multiple, "skip": given.skip, "sequential": sequential},
        "repair": given.repair,
    }
    steps: list[Sequence[str]] = list(reversed(groups))
    if not sequential and groups:
        steps = [[layer for group in groups for layer in group]]
    return Choice(steps, widths, given.loss_growth, given.multiple, groups, given.repair, stored, facts)


def prune(task: Task, choice: Choice) -> Pruned:
    """Score, choose and remove, step by step; a line is printed for each layer."""
    model, example = task.model, task.images.to(task.device)
    cost = {"evaluations": 0.0, "seconds": 0.0}
    removed: dict[str, list[int]] = {}
    for step in choice.steps:
        scores: dict[str, Tensor] = {}
        kept: dict[str, int] = {}
        for layer in step:
            found = choice.stored.get(layer)
            if found is None:
                found = task.score(task.game(layer, model))
                cost = {name: value + getattr(found, name) for name, value in cost.items()}
            scores[layer] = found.aggregate(task.aggregate)
            if choice.growth is not None:
                gone = choose_for_loss(task.game(layer, model), found.order(task.aggregate), choice.growth)
                kept[layer] = task.units[layer] - len(gone)
            elif choice.widths is not None:
                kept[layer] = choice.widths[layer]
        widths = kept or None
        chosen = choose_units(
            scores, widths=widths, negative=widths is None, multiple=choice.multiple, groups=choice.groups
        )
        removed |= chosen
        # From the whole network each time, as `shapprune.pruning.protocols.low_data` does.
        model = repair(remove_units(task.model, removed, example), task.model, removed, example, choice.repair)
        for layer, units in chosen.items():
            print(f"{layer}: {len(units)} of {task.units[layer]} units leave", flush=True)
    return Pruned(model, {**choice.facts, "cost": cost})


def _widths(
    given: argparse.Namespace, task: Task, units: Mapping[str, int], groups: Sequence[tuple[str, ...]]
) -> dict[str, int] | None:
    """Of each layer how many units it will keep, whatever their scores; None where the scores decide."""
    if given.negative or given.loss_growth is not None:
        return None
    blank = {layer: torch.zeros(count) for layer, count in units.items()}
    rules: dict[str, Any] = {"multiple": given.multiple, "groups": groups}
    if given.parameters is not None or given.macs is not None:
        example = task.images[:2].to(task.device)
        gone = choose_for_size(task.model, blank, example, parameters=given.parameters, macs=given.macs, **rules)
    else:
        widths = None
        if given.widths is not None:  # a layer that is called 0 is a number in YAML
            widths = {str(layer): width for layer, width in mapping(given.widths, "--widths", "{conv1: 16}").items()}
            if wrong := [layer for layer, width in widths.items() if type(width) is not int]:
                raise ShapPruneError(f"--widths of layer {wrong[0]!r} is {widths[wrong[0]]!r}, not a whole number")
        gone = choose_units(blank, ratio=given.ratio, widths=widths, **rules)
    return {layer: count - len(gone[layer]) for layer, count in units.items()}
