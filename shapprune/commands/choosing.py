"""``prune`` by scores: what the arguments ask of a network, and the network that comes of it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from shapprune.commands.opening import check_criterion
from shapprune.commands.results import Comparison, print_comparison
from shapprune.commands.scoring import Scoring, open_scoring, read_folder
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


def plan_pruning(arguments: argparse.Namespace, scoring: Scoring, target: Target) -> Plan:
    """Check what the arguments ask of this network, and settle what does not depend on scores.

    Raises:
        ShapPruneError: this network cannot have it.
    """
    scoring.graph.require(*arguments.skip)
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
    if not stored:
        check_criterion(scoring.criterion, {layer: scoring.units[layer] for layer in layers}, scoring)
    sequential = arguments.scores is None and arguments.sequential is not False
    choice = {target.measure: getattr(target, target.measure), "multiple": target.multiple}
    facts = {
        "scores": {name: settings[name] for name in SCORE_SETTINGS} | {"aggregate": scoring.aggregate},
        "choice": choice | {"skip": arguments.skip, "sequential": sequential},
        "repair": arguments.repair,
    }
    return Plan(grouped, layers, sequential, arguments.repair, stored, facts)


def prune_by_scores(arguments: argparse.Namespace, target: Target) -> None:
    """Prune, measure, write, and print a comparison of the two networks.

    Raises:
        ShapPruneError: a bad argument; nothing is written then.
    """
    scoring = open_scoring(arguments)
    plan = plan_pruning(arguments, scoring, target)
    comparison = Comparison.begin(arguments, scoring)
    model, made = prune(scoring, plan)
    facts = comparison.write(arguments.out, model, made)
    print_comparison(facts["before"], facts["after"])


def prune(scoring: Scoring, plan: Plan) -> tuple[nn.Module, dict[str, Any]]:
    """Score, choose, remove and repair; a line is printed for each layer.

    Returns:
        The smaller network, and what a manifest says of how it was made.
    """
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
    return model, {**plan.facts, "cost": cost}
