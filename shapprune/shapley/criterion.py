"""The decorator that makes a function a criterion: its options are checked, its cost is measured."""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from shapprune.core.errors import ShapPruneError
from shapprune.core.games import SCORES
from shapprune.core.options import option
from shapprune.game.payoffs import require_finite
from shapprune.shapley.scores import UnitScores
from shapprune.shapley.unfinished import Unfinished


class Estimate(NamedTuple):
    """What a criterion has found; `criterion` makes UnitScores of it.

    Attributes:
        values: as in UnitScores.
        draws: as in UnitScores.
        settled: as in UnitScores.
        unfinished: the state of the scoring, where it can continue from a checkpoint.
    """

    values: Tensor
    draws: Tensor | None = None
    settled: bool | None = None
    unfinished: Unfinished | None = None


def criterion(
    name: str,
    *,
    limits: Mapping[str, Mapping[str, float]] = {},
    shapley: bool = False,
    walks: bool = False,
    gradient: bool = False,
    max_units: int | None = None,
    batchnorm: bool = False,
    payoffs: tuple[str, ...] = (),
) -> Callable[[Callable[..., Tensor | Estimate | UnitScores]], Callable[..., UnitScores]]:
    """Declare that a function is a criterion, and make it return UnitScores.

    The function takes a game, its options and, where it draws at random, ``seed``. With ``checkpoint`` it can continue
    after an interruption. It returns values or an `Estimate`; its cost is measured here, that of all its parts if it
    continued. UnitScores that it returns are passed on.

    The type that the game is annotated with says what it scores: ``LayerGame`` units of a layer, ``BranchGame``
    branches and blocks, ``Game`` and ``PayoffGame`` players of any kind. Another game is refused.

    All arguments must be literals: `shapprune.criteria.catalog` reads them from the source.

    Args:
        name: its name in a configuration.
        limits: of its options: minimum, maximum, above, below; of a list, those of its items.
        shapley: whether it estimates Shapley values.
        walks: whether it costs many evaluations, so that the workflow gives each layer a job (and a GPU) of its own.
        gradient: whether it needs the gradient of the payoff.
        max_units: the widest layer it can score, if there is a limit.
        batchnorm: whether it needs a BatchNorm behind the layer.
        payoffs: those it is defined for, if not for all.
    """

    def decorate(function: Callable[..., Tensor | Estimate | UnitScores]) -> Callable[..., UnitScores]:
        signature = inspect.signature(function)
        wanted = str(next(iter(signature.parameters.values())).annotation)
        options = {
            each.name: option(str(each.annotation), each.default, limits=limits.get(each.name, {}))
            for each in signature.parameters.values()
        }

        @functools.wraps(function)
        def measured(game: Any, *args: Any, **given: Any) -> UnitScores:
            for key, value in signature.bind(game, *args, **given).arguments.items():
                known = options[key]
                if known is not None and (problem := known.check(value)):
                    raise ShapPruneError(f"option {key!r} of {name}: {problem}")
            if wanted in SCORES and wanted not in (each.__name__ for each in type(game).__mro__):
                raise ShapPruneError(
                    f"{name} scores {SCORES[wanted]}, so it needs a {wanted} and not a {type(game).__name__}"
                )
            evaluations, started = game.evaluations, time.perf_counter()
            result = function(game, *args, **given)
            if isinstance(result, UnitScores):
                return result
            values, draws, settled, unfinished = result if isinstance(result, Estimate) else Estimate(result)
            require_finite(values, f"{name} of layer {game.layer!r}")
            cost = game.evaluations - evaluations, time.perf_counter() - started
            if unfinished is not None:
                unfinished.finish()
                cost = cost[0] + unfinished.evaluations, cost[1] + unfinished.seconds
            return UnitScores(values, name, *cost, draws, settled)

        return measured

    return decorate
