"""The catalog of all criteria, read from their source without importing it.

A criterion is one function with ``@criterion(...)`` above it (`shapprune.shapley.criterion`). Its options and defaults
are those of its signature, its descriptions those of its docstring. Functions import torch, which planning a workflow
and checking a configuration must not wait for, so this module parses their files instead.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shapprune.core.errors import ShapPruneError, unknown
from shapprune.core.games import SCORES
from shapprune.core.options import Option, descriptions, option, settle
from shapprune.core.paths import PACKAGE

# The keys of a criterion's settings in a configuration that are not options of its method.
NOT_OPTIONS = ("method", "trials", "aggregates")
# Those whose standard errors are always written, whatever the configuration asks for.
AGGREGATES = ("mean", "abs", "mean+2std")
_ROOMS = ("shapley", "criteria")


@dataclass(frozen=True)
class Criterion:
    """A criterion: a function of a game (and options) that returns UnitScores.

    Attributes:
        function: where it is, ``module:name``.
        about: one line for people, with the source.
        game: the type of the game that it scores, see `shapprune.shapley.criterion.criterion`.
        options: its options by name.
        random: whether it draws at random, so that trials differ by more than their images.
        resumes: whether it can continue from a checkpoint.
        shapley: see `shapprune.shapley.criterion.criterion`, as for the following.
        walks: as there.
        gradient: as there.
        max_units: as there.
        batchnorm: as there.
        payoffs: as there.
    """

    function: str
    about: str
    game: str = "Game"
    options: Mapping[str, Option] = field(default_factory=dict)
    random: bool = False
    resumes: bool = False
    shapley: bool = False
    walks: bool = False
    gradient: bool = False
    max_units: int | None = None
    batchnorm: bool = False
    payoffs: tuple[str, ...] = ()


def _declared(path: Path) -> Iterator[tuple[str, Criterion]]:
    """The criteria of a module, by name."""
    source = path.read_bytes()
    module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    statements = ast.parse(source).body if b"\n@criterion(" in source else []
    for function in (each for each in statements if isinstance(each, ast.FunctionDef)):
        for call in function.decorator_list:
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "criterion":
                declared = {str(each.arg): ast.literal_eval(each.value) for each in call.keywords}
                options = _options(function, declared.pop("limits", {}))
                parameters = {each.arg for each in function.args.args}
                yield (
                    ast.literal_eval(call.args[0]),
                    Criterion(
                        f"{module}:{function.name}",
                        _first_sentence(ast.get_docstring(function) or ""),
                        ast.unparse(function.args.args[0].annotation) if function.args.args[0].annotation else "Game",
                        options,
                        random="seed" in parameters,
                        resumes="checkpoint" in parameters,
                        **declared,
                    ),
                )


def _options(function: ast.FunctionDef, limits: Mapping[str, Mapping[str, float]]) -> dict[str, Option]:
    """The options of a criterion: its parameters but the game, the seed, the checkpoint, and what is no plain value."""
    about = descriptions(ast.get_docstring(function), "Args")
    parameters = function.args.args[-len(function.args.defaults) :] if function.args.defaults else []
    found = {
        parameter.arg: option(
            ast.unparse(parameter.annotation) if parameter.annotation else "",
            ast.literal_eval(default),
            _first_sentence(about.get(parameter.arg, "")),
            limits.get(parameter.arg, {}),
        )
        for parameter, default in zip(parameters, function.args.defaults, strict=True)
        if parameter.arg not in ("seed", "checkpoint")
    }
    return {name: each for name, each in found.items() if each is not None}


def _first_sentence(text: str) -> str:
    return re.split(r"(?<!et al)\.(?=\s|$)", " ".join(text.split()), maxsplit=1)[0]


CATALOG: dict[str, Criterion] = {
    name: each for room in _ROOMS for path in sorted((PACKAGE / room).glob("*.py")) for name, each in _declared(path)
}


def lookup(name: str) -> Criterion:
    """The criterion called ``name``; ``_`` and ``-`` count alike.

    Raises:
        ShapPruneError: there is none of that name; the nearest is offered.
    """
    found = CATALOG.get(str(name).replace("_", "-"))
    if found is None:
        raise unknown("criterion", name, CATALOG)
    return found


def lookup_for(name: str, game: str = "LayerGame") -> Criterion:
    """The criterion called ``name``, for a kind of game (`shapprune.core.games.SCORES`).

    Raises:
        ShapPruneError: there is none of that name, or it scores the players of other games.
    """
    found = lookup(name)
    if found.game in SCORES and found.game != game:
        raise ShapPruneError(f"{name} scores {SCORES[found.game]}, not {SCORES[game]}")
    return found


def check_options(name: str, options: Mapping[str, object]) -> dict[str, object]:
    """The options of criterion ``name`` with its defaults filled in.

    Raises:
        ShapPruneError: an option it does not take, or a value that is not allowed.
    """
    settled = settle(lookup(name).options, options, name)
    if "of" in settled:  # a criterion made of another
        check_options(settled["of"], settled["options"])
    return settled


def options_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the method in the settings of a criterion."""
    return {key: value for key, value in settings.items() if key not in NOT_OPTIONS}
