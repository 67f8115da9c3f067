"""Checks of criteria and estimators in a configuration: their options, the payoff they need, the layers they can score.

Each check yields the keys and sentences of the mistakes it finds; see `shapprune.workflow.study.checks`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from shapprune.core.errors import ShapPruneError, few, suggestion
from shapprune.core.games import SCORES, game_of
from shapprune.criteria.catalog import CATALOG, NOT_OPTIONS, Criterion, lookup
from shapprune.networks.tables import without_batchnorm
from shapprune.workflow.stages.estimators import SETTINGS_KEYS
from shapprune.workflow.stages.layers import known_layers, removable
from shapprune.workflow.study.schema import Problem


def check_criteria(config: Mapping[str, Any]) -> Iterator[Problem]:
    """Check the section ``criteria``."""
    yield from _check_options("criteria", config["criteria"], NOT_OPTIONS)
    for name, settings in config["criteria"].items():
        layers = known_layers(config)
        if name in config["untrained"]["criteria"]:
            layers |= known_layers(config, untrained=True)
        yield from _check_scored_layers(f"criteria.{name}", _scoring(name, settings), layers, config)


def check_estimators(config: Mapping[str, Any]) -> Iterator[Problem]:
    """Check the section ``estimators``."""
    section = config["estimators"]
    yield from _check_options("estimators.compared", section["compared"], SETTINGS_KEYS)
    layers = {
        net: {layer: units for layer, units in table.items() if units <= section["max_units"]}
        for net, table in known_layers(config).items()
    }
    for name, settings in section["compared"].items():
        yield from _check_scored_layers(f"estimators.compared.{name}", _scoring(name, settings), layers, config)


def check_methods(config: Mapping[str, Any]) -> Iterator[Problem]:
    """Check the criteria of the section ``budgets``."""
    for name, settings in config["budgets"]["methods"].items():
        key, method = f"budgets.methods.{name}", settings.get("criterion", name)
        options = settings.get("options", {})
        given = [(option, f"{key}.options.{option}", value) for option, value in options.items()]
        yield from _check_method(f"{key}.criterion", method, given)
        scorer = _scoring(name, {**options, "method": method})
        layers = {
            net: {layer: table[layer] for layer in removable(table)} for net, table in known_layers(config).items()
        }
        if scorer is not None and scorer.game == "BranchGame":
            yield f"{key}.criterion", f"{method} scores {SCORES[scorer.game]}, not {SCORES['LayerGame']}"
        else:
            yield from _check_scored_layers(key, scorer, layers, config, "another criterion")


def check_payoff(config: Mapping[str, Any]) -> Iterator[Problem]:
    """Check that the payoff is one that all criteria and estimators are defined for."""
    payoff, without_gradient = config["scoring"]["payoff"], []
    for section, criteria in (
        ("criteria", config["criteria"]),
        ("estimators.compared", config["estimators"]["compared"]),
    ):
        for name, settings in criteria.items():
            if (criterion := _scoring(name, settings)) is None:
                continue
            if criterion.payoffs and payoff not in criterion.payoffs:
                allowed = ", ".join(criterion.payoffs)
                yield "scoring.payoff", f"{payoff!r} is not what {name} of {section} is defined for; allowed: {allowed}"
            elif criterion.gradient and payoff in ("accuracy", "agreement"):
                without_gradient.append(f"{name} of {section}")
    if without_gradient:
        names = f"which is needed by {', '.join(without_gradient)}"
        yield "scoring.payoff", f"{payoff!r} has no gradient, {names}; allowed: loss, margin, kl"


def _check_options(
    section: str, criteria: Mapping[str, Mapping[str, Any]], not_options: tuple[str, ...]
) -> Iterator[Problem]:
    """Check that methods exist and take the options they are given.

    Args:
        section: the key of the criteria.
        criteria: the settings of each, by name.
        not_options: the keys of the settings that are not options of the method.
    """
    for name, settings in criteria.items():
        key, method = f"{section}.{name}", settings.get("method", name)
        given = [(option, f"{key}.{option}", value) for option, value in settings.items() if option not in not_options]
        for option, values in settings.get("over", {}).items():
            given += [(option, f"{key}.over.{option}", value) for value in values]
        yield from _check_method(f"{key}.method", method, given, not_options)


def _check_method(
    key: str, method: str, given: Iterable[tuple[str, str, Any]], not_options: tuple[str, ...] = ()
) -> Iterator[Problem]:
    """Check that a method exists and takes options.

    Args:
        key: the key of its name.
        method: its name.
        given: the name, the key and the value of each option.
        not_options: what else its settings may hold.
    """
    try:
        criterion = lookup(method)
    except ShapPruneError as error:
        yield key, str(error)
        return
    for option, where, value in given:
        if option not in criterion.options:
            yield where, f"unknown option of {method}{suggestion(option, [*criterion.options, *not_options])}"
        elif problem := criterion.options[option].check(value):
            yield where, problem
        elif option == "of" and value:  # a criterion made of another
            try:
                lookup(value)
            except ShapPruneError as error:
                yield where, str(error)


def _scoring(name: str, settings: Mapping[str, Any]) -> Criterion | None:
    """The criterion that scores: the method, or the one that it applies in stages; None if it does not exist."""
    try:
        method = lookup(settings.get("method", name))
        return lookup(settings.get("of", method.options["of"].default)) if "of" in method.options else method
    except ShapPruneError:
        return None


def _check_scored_layers(
    key: str,
    criterion: Criterion | None,
    layers: Mapping[str, Mapping[str, int]],
    config: Mapping[str, Any],
    instead: str = "other 'layers'",
) -> Iterator[Problem]:
    """Check that a criterion can score the layers of each network."""
    if criterion is None:
        return
    networks = config["networks"] | config["untrained"]["networks"]
    method = next(name for name, each in CATALOG.items() if each is criterion)
    others = [
        f"{layer} of {net}"
        for net, table in layers.items()
        for layer in table
        if criterion.game in SCORES and game_of(layer) != criterion.game
    ]
    if others:
        yield key, f"{method} scores {SCORES[criterion.game]}, which {few(others)} has not; choose {instead}"
    most = criterion.max_units or math.inf
    wide = [f"{layer} of {net}" for net, table in layers.items() for layer in table if table[layer] > most]
    if wide:
        yield key, f"{method} takes at most {most} units, but more are in {', '.join(wide)}; choose {instead}"
    bare = [
        f"{layer} of {net}"
        for net, table in layers.items()
        for layer in without_batchnorm(networks[net].get("architecture", ""), table)
    ]
    if criterion.batchnorm and bare:
        yield key, f"{method} needs a BatchNorm, but none follows {', '.join(bare)}; choose {instead}"
