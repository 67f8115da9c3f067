"""Backward elimination of units by what the layers that read them cannot make up for.

A reader's weights are fitted anew whenever a unit leaves. With the rows X of its inputs (centred where it has a bias to
fit), the weights W that it has and a ridge, the payoff of a coalition S of units is

    v(S) = - min over V supported on S of |X W - X V|^2 + ridge |V - W|^2 on S.

With H = X'X + ridge and V the best weights, a unit with inputs i lowers it by
trace(V_i' [(H^-1)_ii]^-1 V_i) - ridge |W_i|^2 if it leaves, so one that is always zero costs nothing. Then V and H^-1
lose what that unit has in them, so nothing is ever fitted again.

Source: Hassibi and Stork 1993, "Second order derivatives for network pruning: optimal brain surgeon", for groups of
weights; Kurtic et al. 2023 (https://arxiv.org/abs/2302.04089) for structures of transformers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# A layer with more units than this loses several in a step: as many as this goes into those that are left.
_ONE_BY_ONE = 32


@dataclass(frozen=True)
class Reading:
    """How a layer reads units.

    Attributes:
        rows: its inputs, centred, float64 [rows, features], if there are fewer rows than features; else their Gram
            matrix, [features, features].
        means: what was taken away from each input, [features].
        weights: float64 [features, outputs].
        importance: of each output, [outputs].
        places: the features of each unit, int [n, k].
    """

    rows: Tensor
    means: Tensor
    weights: Tensor
    importance: Tensor
    places: Tensor

    @property
    def is_gram(self) -> bool:
        """Whether ``rows`` are their Gram matrix."""
        return len(self.rows) == self.rows.shape[1]


@dataclass(frozen=True)
class Elimination:
    """What an elimination has found.

    Attributes:
        order: the units from the first to leave to the last, [n].
        lost: share of the variance of the readers' outputs that is lost with the first j units gone, [n + 1]; the mean
            of the readers.
    """

    order: list[int]
    lost: list[float]

    @property
    def values(self) -> Tensor:
        """Share of the variance that is lost once each unit is gone, float64 [n]; it rises along the order."""
        found = torch.empty(len(self.order), dtype=torch.float64)
        found[self.order] = torch.tensor(self.lost[1:], dtype=torch.float64)
        return found


def eliminate(
    readings: Sequence[Reading], ridge: float = 0.01, order: Sequence[int] | None = None, prior: Tensor | None = None
) -> Elimination:
    """Let the units leave one after the other, always the one that the readers miss least.

    Args:
        readings: of one or more layers that read the same units.
        ridge: in units of the mean variance of a reader's inputs.
        order: the units from the first to leave to the last, if another order is wanted.
        prior: what the loss of each unit is multiplied by before the least is looked for, [n]; by default 1.

    Examples:
        >>> import torch
        >>> from shapprune.criteria.elimination import Reading, eliminate
        >>> rows = torch.tensor([[1.0, 1, 0], [2, 2, 1], [-3, -3, -1]], dtype=torch.double)  # units 0 and 1 are twins
        >>> weights, places = torch.ones(3, 1, dtype=torch.double), torch.tensor([[0], [1], [2]])
        >>> reading = Reading(rows.T @ rows, torch.zeros(3), weights, torch.ones(1), places)
        >>> found = eliminate([reading], ridge=1e-6)
        >>> found.order[0] in (0, 1), [round(each, 2) for each in found.lost[:2]]
        (True, [0.0, 0.0])
    """
    states = [_State(reading, ridge) for reading in readings]
    device = readings[0].weights.device
    left = torch.arange(len(readings[0].places), device=device)
    wanted = None if order is None else torch.as_tensor(order, device=device)
    prior = None if prior is None else prior.to(device)
    leaving, rising, done = list[Tensor](), list[Tensor](), 0
    while len(left):  # nothing in here waits for the device
        rises = torch.stack([state.rises() for state in states]).mean(0)
        many = max(1, len(left) // _ONE_BY_ONE)
        if wanted is None:
            missed = rises if prior is None else rises * prior[left]
            gone = missed.argsort(stable=True)[:many]
        else:
            gone = (wanted[done : done + many, None] == left).int().argmax(1)
        leaving.append(left[gone])
        rising.append(rises[gone])
        for state in states:
            state.remove(gone)
        left = left[_without(gone, len(left))]
        done += many
    lost = torch.cat([rises.new_zeros(1), *rising]).cumsum(0)
    return Elimination(torch.cat(leaving).tolist(), lost.tolist())


def fit_to_fewer(
    readings: Sequence[Reading], order: Sequence[int], widths: Collection[int], ridge: float = 0.01
) -> Iterator[tuple[int, list[Tensor]]]:
    """Fit the readers to fewer and fewer units.

    Args:
        readings: as for `eliminate`.
        order: the units from the first to leave to the last.
        widths: numbers of units left.
        ridge: as there.

    Yields:
        A number of units left, from the most to the least, and the weights of each reader fitted to them, float64
        [features, outputs]; they change as the iteration goes on.

    Examples:
        >>> import torch
        >>> from shapprune.criteria.elimination import Reading, fit_to_fewer
        >>> rows = torch.tensor([[1.0, 1, 0], [2, 2, 1], [-3, -3, -1]], dtype=torch.double)  # units 0 and 1 are twins
        >>> weights, places = torch.ones(3, 1, dtype=torch.double), torch.tensor([[0], [1], [2]])
        >>> reading = Reading(rows.T @ rows, torch.zeros(3), weights, torch.ones(1), places)
        >>> [(width, one.round().flatten().tolist()) for width, (one,) in fit_to_fewer([reading], [0, 1, 2], [2], 1e-6)]
        [(2, [0.0, 2.0, 1.0])]
    """
    states = [_State(reading, ridge) for reading in readings]
    left = list(range(len(order)))
    for width in sorted(widths, reverse=True):
        away = {int(unit) for unit in order[len(order) - len(left) : len(order) - width]}
        gone = [place for place, unit in enumerate(left) if unit in away]
        if gone:
            for state in states:
                state.remove(torch.tensor(gone, device=state.weights.device))
        left = [unit for unit in left if unit not in away]
        yield width, [state.weights for state in states]


def _without(gone: Tensor, count: int) -> Tensor:
    """The numbers below a count that are not gone, in order. A mask would do, but the device has to be waited for."""
    away = torch.zeros(count, dtype=torch.int8, device=gone.device)
    away.index_fill_(0, gone, 1)
    return away.argsort(stable=True)[: count - len(gone)]


class _State:
    """A reader while units leave.

    Attributes:
        weights: the fitted weights, [features, outputs]; 0 where a unit is gone.
    """

    def __init__(self, reading: Reading, ridge: float):
        rows, self.weights = reading.rows, reading.weights.clone()
        squares = rows.diagonal() if reading.is_gram else rows.square().sum(0)
        strength = ridge * float(squares.mean()) or 1.0  # all inputs may be the same
        self._importance = reading.importance.double()
        outputs = reading.weights if reading.is_gram else rows @ reading.weights
        energy = ((rows @ outputs) * reading.weights if reading.is_gram else outputs.square()).sum(0) @ self._importance
        self._energy = float(energy) or 1.0
        held = reading.weights.square() @ self._importance * strength / self._energy
        self._held = held[reading.places.to(rows.device)].sum(1)  # what the ridge costs each unit that is gone
        self._inverse = _Gram(rows, strength) if reading.is_gram else _Rows(rows, strength)
        self._features = torch.arange(rows.shape[1], device=rows.device)  # those that are left
        self._places = reading.places.to(rows.device)  # of the units that are left, among those features
        self._blocks = self._inverse.blocks(self._places)

    def rises(self) -> Tensor:
        """The share of the variance of the outputs that each unit takes with it, [n left]."""
        rows = self.weights[self._features[self._places]] * self._importance.sqrt()
        rises = (rows * _solve(self._blocks, rows)).sum((1, 2)) / self._energy
        return (rises - self._held).clamp_min(0)

    def remove(self, gone: Tensor) -> None:
        """Let some of the units leave that are left: places among them, int [m]."""
        there = self._places[gone].flatten()
        columns = self._inverse.columns(there)
        block = columns[there]
        own = self._features[there]
        factor = _solve(block, torch.cat([self.weights[own], columns.mT], 1))
        change, onto = factor.split([self.weights.shape[1], len(columns)], 1)
        self.weights[self._features] -= columns @ change
        self.weights.index_fill_(0, own, 0)
        stay, units = _without(there, len(self._features)), _without(gone, len(self._places))
        self._inverse.remove(there, columns, onto, stay)
        place = torch.empty_like(self._features)
        place[stay] = torch.arange(len(stay), device=stay.device)
        rest = self._places[units]
        self._blocks = self._blocks[units] - columns[rest] @ onto[:, rest].permute(1, 0, 2)
        self._places, self._features, self._held = place[rest], self._features[stay], self._held[units]


def _solve(matrices: Tensor, right: Tensor) -> Tensor:
    """Solve without asking whether a matrix is singular: with a ridge none is, and the answer would be waited for."""
    return torch.linalg.solve_ex(matrices, right)[0]


class _Gram:
    """The inverse of a Gram matrix with a ridge."""

    def __init__(self, gram: Tensor, strength: float):
        ridged = gram + strength * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
        self._inverse = torch.cholesky_inverse(torch.linalg.cholesky(ridged))

    def blocks(self, places: Tensor) -> Tensor:
        return self._inverse[places[:, :, None], places[:, None, :]]

    def columns(self, places: Tensor) -> Tensor:
        return self._inverse[:, places]

    def remove(self, places: Tensor, columns: Tensor, onto: Tensor, stay: Tensor) -> None:
        self._inverse = self._inverse[stay][:, stay].addmm_(columns[stay], onto[:, stay], alpha=-1)


class _Rows:
    """The same from the rows: (X'X + s)^-1 = (1 - X' (X X' + s)^-1 X) / s. It is small where there are few rows."""

    def __init__(self, rows: Tensor, strength: float):
        self._rows, self._strength = rows, strength
        ridged = rows @ rows.mT + strength * torch.eye(len(rows), dtype=rows.dtype, device=rows.device)
        self._inverse = torch.cholesky_inverse(torch.linalg.cholesky(ridged))

    def blocks(self, places: Tensor) -> Tensor:
        some, solved = (each[:, places].permute(1, 0, 2) for each in (self._rows, self._inverse @ self._rows))
        one = torch.eye(places.shape[1], dtype=some.dtype, device=some.device)
        return (one - some.mT @ solved) / self._strength

    def columns(self, places: Tensor) -> Tensor:
        found = self._rows.mT @ (self._inverse @ self._rows[:, places]) / -self._strength
        found[places, torch.arange(len(places), device=places.device)] += 1 / self._strength
        return found

    def remove(self, places: Tensor, columns: Tensor, onto: Tensor, stay: Tensor) -> None:
        some = self._rows[:, places]
        solved = self._inverse @ some
        one = torch.eye(len(places), dtype=some.dtype, device=some.device)
        self._inverse += solved @ _solve(one - some.mT @ solved, solved.mT)
        self._rows = self._rows[:, stay]
