"""``prune`` to a budget, or to several: what the arguments ask of a network, and the networks that come of it."""

from __future__ import annotations

import argparse
import textwrap
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from shapprune.commands.arguments import read_criterion
from shapprune.commands.budgets import folder_name
from shapprune.commands.opening import Opened, check_criterion, open_network
from shapprune.commands.parts import LabelledPart
from shapprune.commands.results import Comparison, print_comparison
from shapprune.commands.unfinished import Unfinished
from shapprune.core.errors import ShapPruneError, few
from shapprune.gpu.device import machine_facts
from shapprune.graph.prunable import layers_of
from shapprune.graph.refusals import without_names
from shapprune.pruning.budget import Budget
from shapprune.pruning.maker import How
from shapprune.pruning.selection import RECONSTRUCTION
from shapprune.pruning.shrink import Pruned, Shrinker
from shapprune.shapley.scores import aggregate

_UNFINISHED = "distilling.unfinished"  # from which distilling continues after an interruption
_REPAIRED = {"least-squares": "weights refitted", "batchnorm": "statistics estimated anew", "bias": "biases shifted"}
_NAMED, _WIDE = 4, 100  # layers that are named for a reason, and characters of it


@dataclass(frozen=True)
class Fitting:
    """A network that is made to fit budgets.

    Attributes:
        arguments: of the command.
        opened: the network and its images.
        how: it is made smaller.
        shrinker: makes it smaller.
        unfinished: what is there from a run that was cut off.
        comparison: the network, beside which smaller ones are measured and written.
        shared_seconds: that was spent on what all budgets share.
    """

    arguments: argparse.Namespace
    opened: Opened
    how: How
    shrinker: Shrinker
    unfinished: Unfinished
    comparison: Comparison
    shared_seconds: float


def fit_budgets(arguments: argparse.Namespace, budgets: Sequence[Budget]) -> None:
    """Make a network fit each budget; measure, write and print what comes of it.

    Raises:
        ShapPruneError: a bad argument; nothing is written then.
    """
    if arguments.budgets is not None:
        from shapprune.commands.tradeoff import remove_tradeoff, require_figures, write_tradeoff

        require_figures()
    fitting = _prepare(arguments, budgets)
    try:
        if arguments.budgets is None:
            _fit(fitting, budgets[0], arguments.out)
        else:
            remove_tradeoff(arguments.out)  # an earlier run may have left one, of other networks
            manifests = {folder_name(budget): _fit_once(fitting, budget) for budget in budgets}
            write_tradeoff(arguments.out, manifests, budgets[0].measure)
    except ShapPruneError:
        fitting.unfinished.end()
        raise
    fitting.unfinished.end()


def read_how(arguments: argparse.Namespace) -> How:
    """Read how a network is made smaller, without what depends on its images.

    Raises:
        ShapPruneError: a value that is not allowed.
    """
    criterion, options = read_criterion(arguments, RECONSTRUCTION)
    minutes = {} if arguments.minutes is None else {"minutes": arguments.minutes}
    return How(
        criterion=criterion,
        options=options,
        aggregate=arguments.aggregate or "mean",
        allocation=arguments.allocation or "damage",
        repair=arguments.repair,
        copies=_read_number("copies", arguments.copies),
        steps=0 if arguments.distil == "none" else _read_number("distil", arguments.distil, "none"),
        multiple=arguments.multiple,
        skip=arguments.skip,
        seed=arguments.seed,
        progress=True,
        **minutes,
    )


def _read_number(name: str, text: str | None, *others: str) -> int | None:
    """Read a number that may be auto, which is None."""
    if text in (None, "auto"):
        return None
    if not text.isdecimal():
        raise ShapPruneError(f"--{name} {text} is not {', '.join(['auto', *others])} or a number")
    return int(text)


def _prepare(arguments: argparse.Namespace, budgets: Sequence[Budget]) -> Fitting:
    """Open and check all that is asked for, and do what the budgets share."""
    how = read_how(arguments)
    aggregate(torch.zeros(1, 2), how.aggregate)
    opened = open_network(arguments)
    if len(opened.places) < 2:
        raise ShapPruneError(f"{len(opened.places)} image calibrates, 2 or more are needed: give more in --images")
    flip = opened.data.shape[0] == 3 if arguments.flip is None else arguments.flip
    how = replace(how, augmentation=("shift", "flip") if flip else ("shift",))
    layers = layers_of(opened.graph, opened.example, coupled=True)
    scored = {each.name: each.units for each in layers if each.group and each.name not in how.skip}
    check_criterion(how.criterion, scored, opened)
    comparison = Comparison.begin(arguments, opened)
    part, started = opened.data.scoring, time.perf_counter()
    labels = torch.from_numpy(part.labels[opened.places]) if isinstance(part, LabelledPart) else None
    unfinished = Unfinished(arguments.out, arguments, opened)
    shrinker = Shrinker(opened.model, opened.images, labels, how, unfinished.damage, opened.graph.traced)
    for budget in budgets:
        shrinker.check(budget)
    if how.allocation == "damage" and unfinished.damage is None:
        unfinished.keep_damage(shrinker.damage)
    return Fitting(arguments, opened, how, shrinker, unfinished, comparison, time.perf_counter() - started)


def _fit_once(fitting: Fitting, budget: Budget) -> dict[str, Any]:
    """Make the network fit one of several budgets, unless that was done before the command was cut off."""
    name = folder_name(budget)
    facts = fitting.unfinished.facts_of(name)
    if facts is None:
        facts = _fit(fitting, budget, fitting.arguments.out / name)
        fitting.unfinished.add(name, facts)
    else:
        print(f"\n{fitting.arguments.out / name}: {budget}, made before the command was cut off", flush=True)
    return facts


def _fit(fitting: Fitting, budget: Budget, folder: Path) -> dict[str, Any]:
    """Make the network fit a budget, write it into a folder, and return its manifest's facts."""
    unfinished = folder / _UNFINISHED
    pruned = fitting.shrinker.shrink(budget, checkpoint=unfinished)
    facts = fitting.comparison.write(folder, pruned.model, _facts(fitting, pruned))
    unfinished.unlink(missing_ok=True)
    print(f"\n{folder}: {budget}")
    print_comparison(facts["before"], facts["after"])
    _print_agreement(fitting, pruned)
    return facts


def _facts(fitting: Fitting, pruned: Pruned) -> dict[str, Any]:
    """What a manifest says of how a network was made."""
    how = fitting.how
    steps, rate = pruned.distilled or (0, None)
    return {
        "budget": {pruned.budget.measure: pruned.budget.amount},
        "criterion": {"name": how.criterion, "options": dict(how.options), "aggregate": how.aggregate},
        "allocation": how.allocation,
        "repair": how.repair,
        "copies": pruned.copies,
        "distilled": {"steps": steps, "rate": rate, "augmentation": list(how.augmentation)},
        "multiple": how.multiple,
        "skip": list(how.skip),
        "left_whole": pruned.left_whole,
        "images": len(fitting.opened.places),
        "seed": how.seed,
        "agreement": pruned.agreement._asdict(),
        "stages": {stage: agreement._asdict() for stage, agreement in pruned.stages.items()},
        "cost": {"seconds": pruned.seconds, "shared_seconds": fitting.shared_seconds},
    }


def _done(stage: str, pruned: Pruned) -> str:
    """What was chosen for a step by images left out."""
    if stage == "repaired" and pruned.copies:
        return f", with {pruned.copies} changed copies of each image"
    if stage == "distilled" and pruned.distilled:
        return ", {} steps at {:g}".format(*pruned.distilled)
    return ""


def _print_agreement(fitting: Fitting, pruned: Pruned) -> None:
    """Print what each step lost or gave back, what was left whole, and what it took."""
    titles = {"removed": "units removed", "repaired": _REPAIRED.get(fitting.how.repair, ""), "distilled": "distilled"}
    others = f"on other images, by {len(fitting.opened.places)} (less if it was trained on these)"
    print(f"agreement with the intact network to expect {others}, 95 %")
    for stage, agreement in pruned.stages.items():
        print(f"  {titles[stage]:26}{agreement}{_done(stage, pruned)}")
    if pruned.distilled is None and fitting.how.steps != 0:
        print("  not distilled: on images left out it did not help, or it does not fit --minutes")
    alike = defaultdict[str, dict[str, str]](dict)
    for layer, reason in pruned.left_whole.items():
        alike[without_names(reason)][layer] = reason
    for kind, reasons in alike.items():
        reason = kind if len(set(reasons.values())) > 1 else next(iter(reasons.values()))
        print(f"left whole: {few(list(reasons), _NAMED)}: {textwrap.shorten(reason, _WIDE, placeholder=' ...')}")
    peak = machine_facts(fitting.opened.device)["peak_memory_mb"]
    print(f"{pruned.seconds + fitting.shared_seconds:.1f} s, peak memory {peak:,.0f} MB", flush=True)
