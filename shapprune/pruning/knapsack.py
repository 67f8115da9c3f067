"""The widths of layers that fit a budget at the least damage."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from shapprune.core.errors import ShapPruneError

Cost = Callable[[np.ndarray], np.ndarray]

# Parts that a budget is divided into.
_PARTS = 4000
# Times that costs are taken anew at the widths found last.
_ROUNDS = 12
# What all units of a layer add to the damage, as a share of the largest.
_TRACE = 1e-6
# Steps by which a layer is made narrower to see what others gain.
_EXCHANGED = 3


def solve(damage: Sequence[Sequence[float]], costs: Sequence[Sequence[float]], budget: float) -> list[int] | None:
    """Choose one item of each class at the least total damage within a budget, by dynamic programming.

    Args:
        damage: of each item of each class.
        costs: the same.
        budget: what the costs of the chosen items may add up to. It is divided into parts, and costs are rounded up to
            whole parts.

    Returns:
        The place of the item in each class; None if the cheapest are too dear.

    Source: multiple-choice knapsack; for widths of layers SPDY, Frantar and Alistarh 2022
    (https://arxiv.org/abs/2201.13096).

    Examples:
        >>> from shapprune.pruning.knapsack import solve
        >>> solve([[3.0, 0.0], [1.0, 0.0]], [[1.0, 5.0], [1.0, 5.0]], budget=6.0)
        [1, 0]
    """
    least = [float(min(each)) for each in costs]
    room = budget - sum(least)
    if room < 0:
        return None
    part = room / _PARTS or 1.0
    best = np.zeros(_PARTS + 1)
    choices = []
    for losses, prices, cheapest in zip(damage, costs, least, strict=True):
        options = np.full((len(losses), _PARTS + 1), np.inf)
        for item, (loss, price) in enumerate(zip(losses, prices, strict=True)):
            parts = math.ceil((price - cheapest) / part - 1e-9)
            if parts <= _PARTS:
                options[item, parts:] = best[: _PARTS + 1 - parts] + loss
        choices.append(options.argmin(0))
        best = options.min(0)
    found, left = [], _PARTS
    for chosen, prices, cheapest in zip(reversed(choices), reversed(costs), reversed(least), strict=True):
        item = int(chosen[left])
        found.append(item)
        left -= math.ceil((prices[item] - cheapest) / part - 1e-9)
    return found[::-1]


def fit_widths(
    damage: Mapping[str, Mapping[int, float]], cost: Cost, budget: float, start: Mapping[str, int]
) -> dict[str, int]:
    """Choose the widths of layers with the least total damage within a budget.

    What a unit costs may depend on the widths of other layers. So costs are taken beside the widths found last and the
    problem is solved anew, until nothing changes. What is left of the budget goes to the units that gain most for it.

    Args:
        damage: layer -> number of units -> damage; the widths that the layer can have.
        cost: widths of these layers, int [C, layers], -> what the networks cost, [C].
        budget: what the network may cost.
        start: widths to begin with.

    Returns:
        Layer -> width; the cost is within the budget.

    Raises:
        ShapPruneError: the budget cannot be met.

    Examples:
        >>> from shapprune.pruning.knapsack import fit_widths
        >>> damage = {"a": {1: 5.0, 2: 0.0}, "b": {1: 1.0, 2: 0.0}}
        >>> fit_widths(damage, lambda widths: widths.prod(1), 2, {"a": 2, "b": 2})
        {'a': 2, 'b': 1}
    """
    problem = _Problem(_without_ties(damage), cost, budget)
    widths, best, seen = np.array([start[layer] for layer in damage]), problem.narrowest, set[bytes]()
    for _ in range(_ROUNDS):
        if widths.tobytes() in seen:
            break
        seen.add(widths.tobytes())
        widths = problem.solve_beside(widths)
        fitted = problem.fill(problem.shrink(widths))
        if problem.total(fitted) < problem.total(best):
            best = fitted
    return dict(zip(damage, problem.exchange(best).tolist(), strict=True))


def _without_ties(damage: Mapping[str, Mapping[int, float]]) -> dict[str, dict[int, float]]:
    """Damage to which a trace is added for units that leave, so that none leave in vain."""
    trace = _TRACE * (max(loss for options in damage.values() for loss in options.values()) or 1.0)
    return {
        layer: {width: loss + trace * (1 - width / max(options)) for width, loss in options.items()}
        for layer, options in damage.items()
    }


class _Problem:
    """Widths, int [layers], their damage and their cost.

    Attributes:
        narrowest: the least width of each layer.
    """

    def __init__(self, damage: Mapping[str, Mapping[int, float]], cost: Cost, budget: float):
        self._damage, self._cost, self._budget = list(damage.values()), cost, budget
        # All changes of one width: the layer, the width and its damage.
        self._layer = np.array([place for place, options in enumerate(self._damage) for _ in options])
        self._width = np.array([width for options in self._damage for width in options])
        self._loss = np.array([loss for options in self._damage for loss in options.values()])
        self.narrowest = np.array([min(options) for options in self._damage])
        if (least := self._cost(self.narrowest[None])[0]) > budget:
            raise ShapPruneError(
                f"the budget of {budget:,.6g} cannot be met: with the least units it takes {least:,.6g}"
            )

    def total(self, widths: np.ndarray) -> float:
        """The damage of some widths."""
        return sum(options[width] for options, width in zip(self._damage, widths.tolist(), strict=True))

    def solve_beside(self, widths: np.ndarray) -> np.ndarray:
        """Solve the problem with the costs that each width has beside some widths of the other layers."""
        here, costs = self._cost(widths[None])[0], self._beside(widths)
        prices = [costs[self._layer == place] - here for place in range(len(widths))]
        chosen = solve([list(each.values()) for each in self._damage], prices, self._budget - here)
        if chosen is None:
            return self.narrowest
        return np.array([list(options)[place] for options, place in zip(self._damage, chosen, strict=True)])

    def shrink(self, widths: np.ndarray) -> np.ndarray:
        """Take units away where it does the least damage for what it saves, until the budget is met."""
        widths = widths.copy()
        while (here := self._cost(widths[None])[0]) > self._budget:
            saved, harm = here - self._beside(widths), self._loss - self._now(widths)
            possible = (self._width < widths[self._layer]) & (saved > 0)
            ratio = np.where(possible, harm / np.where(possible, saved, 1), np.inf)
            change = int(ratio.argmin())
            widths[self._layer[change]] = self._width[change]
        return widths

    def fill(self, widths: np.ndarray, not_before: int = -1) -> np.ndarray:
        """Give units back where they gain most for what they cost, as long as the budget is met.

        Args:
            widths: to begin with.
            not_before: the place of a layer that gets none before all others have what they can.
        """
        widths = widths.copy()
        while True:
            costs, gained = self._beside(widths), self._now(widths) - self._loss
            possible = (self._width > widths[self._layer]) & (costs <= self._budget) & (gained > 0)
            if (possible & (self._layer != not_before)).any():
                possible &= self._layer != not_before
            elif not possible.any():
                return widths
            more = np.maximum(costs - self._cost(widths[None])[0], 1e-9)
            change = int(np.where(possible, gained / more, -np.inf).argmax())
            widths[self._layer[change]] = self._width[change]

    def exchange(self, widths: np.ndarray) -> np.ndarray:
        """Make one layer narrower for the sake of others, as long as that helps."""
        while True:
            narrower = []
            for place, options in enumerate(self._damage):
                for width in sorted((each for each in options if each < widths[place]), reverse=True)[:_EXCHANGED]:
                    changed = widths.copy()
                    changed[place] = width
                    narrower.append(self.fill(changed, not_before=place))
            best = min(narrower, key=self.total, default=widths)
            if self.total(best) >= self.total(widths):
                return widths
            widths = best

    def _beside(self, widths: np.ndarray) -> np.ndarray:
        """What the network costs after each change of one width."""
        changed = np.repeat(widths[None], len(self._layer), 0)
        changed[np.arange(len(self._layer)), self._layer] = self._width
        return self._cost(changed)

    def _now(self, widths: np.ndarray) -> np.ndarray:
        """The damage that the layer of each change has now."""
        now = np.array([options[width] for options, width in zip(self._damage, widths.tolist(), strict=True)])
        return now[self._layer]
