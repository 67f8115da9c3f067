"""The widths of layers with which a network fits a budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property

import numpy as np
from torch import Tensor

from shapprune.core.errors import ShapPruneError
from shapprune.pruning.allocation import uniform_within
from shapprune.pruning.budget import MEASURES, Budget
from shapprune.pruning.damage import Damage
from shapprune.pruning.knapsack import Cost, fit_widths
from shapprune.pruning.maker import How
from shapprune.pruning.milliseconds import Milliseconds
from shapprune.pruning.selection import Structure
from shapprune.pruning.target import Target


class Widths:
    """Finds the widths with which a network fits a budget.

    Args:
        structure: of the network.
        how: it is made smaller.
        damage: returns what the outputs lose when one layer loses units; called if the allocation asks for it.
        example: an image that the network can run on, [1, ...].
    """

    def __init__(self, structure: Structure, how: How, damage: Callable[[], Mapping[str, Damage]], example: Tensor):
        self._structure, self._how, self._damage, self._example = structure, how, damage, example

    @cached_property
    def milliseconds(self) -> Milliseconds:
        """How long the network takes with other widths; measured once."""
        return Milliseconds(self._structure, self._example, self._how.progress)

    def check(self, budget: Budget) -> None:
        """Raise if a budget cannot be met or the network is within it."""
        if budget.ratio is not None:
            return
        cost, limit, unit = self._priced(budget)
        if self._how.allocation == "uniform":
            least = self._uniform(cost, limit)[1]
        else:
            narrowest = [min(units, self._how.multiple) for units in self._structure.sizes.full.values()]
            least = float(cost(np.array([narrowest]))[0])
        if least > limit:
            raise _not_met(budget, limit / unit, least / unit)

    def find(self, budget: Budget) -> dict[str, int]:
        """How many units each group keeps.

        Raises:
            ShapPruneError: the budget cannot be met, or the network is within it.
        """
        if budget.ratio is not None:
            return Target(ratio=budget.ratio, multiple=self._how.multiple).keep(self._structure.sizes.full) or {}
        cost, limit, unit = self._priced(budget)

        def within(aim: float) -> dict[str, int]:
            uniform, least = self._uniform(cost, aim)
            if self._how.allocation == "uniform":
                if uniform is None:
                    raise _not_met(budget, aim / unit, least / unit)
                return uniform
            damage = self._damage()
            table = {layer: damage[layer].table(self._how.multiple) for layer in self._structure.groups}
            return fit_widths(table, cost, aim, uniform or {layer: min(table[layer]) for layer in table})

        return within(limit) if budget.milliseconds is None else self.milliseconds.fit(within, limit)

    def _priced(self, budget: Budget) -> tuple[Cost, float, float]:
        """What networks of some widths cost, what they may cost, and how much of that is one in the budget."""
        if budget.milliseconds is not None:
            return self.milliseconds.estimate, budget.limit(self.milliseconds.whole), 1
        measure, unit = MEASURES[budget.measure]
        sizes, names = self._structure.sizes, list(self._structure.groups)

        def cost(widths: np.ndarray) -> np.ndarray:
            return sizes.of({name: widths[:, place] for place, name in enumerate(names)})[measure]

        return cost, budget.limit(sizes.of({})[measure] / unit) * unit, unit

    def _uniform(self, cost: Cost, limit: float) -> tuple[dict[str, int] | None, float]:
        """Widths by the least ratio that meets a limit, None if none does; and the cost with the largest."""

        def of(widths: Mapping[str, int]) -> float:
            return float(cost(np.array([list(widths.values())]))[0])

        return uniform_within(self._structure.sizes.full, of, limit, self._how.multiple)


def _not_met(budget: Budget, limit: float, least: float) -> ShapPruneError:
    return ShapPruneError(f"{limit:,.6g} {budget.measure} cannot be met: with the least units there are {least:,.6g}")
