"""What the arguments of ``prune`` ask of a network, and the network that comes of it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from shapprune.commands.scoring import Scoring, check_criterion, check_layers, read_folder
from shapprune.core.errors import ShapPruneError
from shapprune.pruning.allocation import allocate
from shapprune.pruning.loop import prune_steps
from shapprune.pruning.target import Target
from shapprune.shapley.scores import UnitScores

# Settings of the scores that the manifest of a smaller network has.
SCORE_SETTINGS = ("criterion", "options", "payoff", "images", "seed", "digest")


@dataclass(frozen=True)
class Plan:
    """How a network is pruned, as far as it is known before units are scored.

    Attributes:
        target: how far; a ratio or a size has become widths.
        layers: those that lose units, in the order they run.
        sequential: whether they are pruned one after the other.
        repair: what mends the network after each step (`shapprune.pruning.repair.repair`).
        stored: layer -> scores that were made before.
        facts: what a manifest says of it.
    """

    target: Target
    layers: Sequence[str]
    sequential: bool
    repair: str
    stored: Mapping[str, UnitScores]
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Pruned:
    """A smaller network.

    Attributes:
        model: the network.
        facts: what a manifest says of how it was made.
    """

    model: nn.Module
    facts: Mapping[str, Any]


def plan_pruning(arguments: argparse.Namespace, scoring: Scoring, target: Target) -> Plan:
    """Check what the arguments ask of this network, and settle what does not depend on scores.

    Raises:
        ShapPruneError: this network cannot have it.
    """
    check_layers(arguments.skip, scoring)
    stored: Mapping[str, UnitScores] = {}
    settings = scoring.settings
    if arguments.scores is not None:
        stored, settings = read_folder(arguments.scores, scoring)
    groups = [
        group
        for group in scoring.groups
        if not set(group) & set(arguments.skip) and (not stored or all(layer in stored for layer in group))
    ]
    if not groups:
        raise ShapPruneError("no layer is left to lose units: all are in --skip, or have no scores")
    grouped = replace(target, groups=groups)
    layers = [layer for group in groups for layer in group]
    units = {layer: scoring.units[layer] for layer in layers}
    widths = allocate(grouped, units, scoring.model, scoring.images[:2].to(scoring.device))
    if widths is not None:  # what keeps all its units needs no scores
        layers = [layer for layer in layers if widths[layer] < units[layer]]
        left = [group for group in groups if group[0] in layers]
        grouped = Target(widths={layer: widths[layer] for layer in layers}, multiple=target.multiple, groups=left)
    check_criterion([] if stored else layers, scoring)
    sequential = arguments.scores is None and arguments.sequential is not False
    choice = {target.measure: getattr(target, target.measure), "multiple": target.multiple}
    facts = {
        "scores": {name: settings[name] for name in SCORE_SETTINGS} | {"aggregate": scoring.aggregate},
        "choice": choice | {"skip": arguments.skip, "sequential": sequential},
        "repair": arguments.repair,
    }
    return Plan(grouped, layers, sequential, arguments.repair, stored, facts)


def prune(scoring: Scoring, plan: Plan) -> Pruned:
    """Score, choose, remove and repair; a line is printed for each layer."""
    model = scoring.model
    cost = {"evaluations": 0.0, "seconds": 0.0}
    for step in prune_steps(
        model,
        plan.layers,
        plan.target,
        scoring.images.to(scoring.device),
        scoring.labels,
        scoring.score,
        aggregate=scoring.aggregate,
        repair=plan.repair,
        sequential=plan.sequential,
        stored=plan.stored,
        **scoring.game_options,
    ):
        model = step.model
        for scores in step.scores.values():
            cost = {name: value + getattr(scores, name) for name, value in cost.items()}
        for layer, units in step.removed.items():
            print(f"{layer}: {len(units)} of {scoring.units[layer]} units leave", flush=True)
    return Pruned(model, {**plan.facts, "cost": cost})
