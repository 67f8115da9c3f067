"""The rows of walks along removal orders, packed into calls of the network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from shapprune.game.engine import Entry, Walks

Places = tuple[Tensor, Tensor, Tensor]

# Walks side by side are few enough for so many steps in a call, so that little of it stays empty.
_STEPS = 8


def active_first(orders: Tensor, active: Tensor) -> tuple[Tensor, Tensor]:
    """Move the units that are null players to the end of removal orders.

    Args:
        orders: removal orders of each example, int [K, N, n].
        active: the units of each example that are no null players, bool [N, n].

    Returns:
        The orders with the active units first, int [K, N, n]; the units of either kind stay in their order. And how
        many active units are gone after each step of the orders given, int [K, N, n + 1].

    >>> import torch
    >>> from shapprune.game.walks import active_first
    >>> leaving, gone = active_first(torch.tensor([[[2, 0, 1]]]), torch.tensor([[True, True, False]]))
    >>> leaving.tolist(), gone.tolist()
    ([[[0, 1, 2]]], [[[0, 0, 1, 2]]])
    """
    units = orders.shape[2]
    leaves = active[None].expand(len(orders), -1, -1).gather(2, orders)
    so_far = leaves.cumsum(2)
    steps = torch.arange(1, units + 1, device=orders.device)
    # This is faster than a stable sort.
    place = torch.where(leaves, so_far, active.sum(1)[:, None] + steps - so_far) - 1
    return torch.empty_like(orders).scatter_(2, place, orders), torch.nn.functional.pad(so_far, (1, 0))


def walk_rows(
    entry: Entry, chunks: Iterable[tuple[slice, Tensor]], leaving: Tensor, lengths: np.ndarray, limit: int
) -> Iterator[tuple[Tensor, Places]]:
    """What enters the network along walks, in calls of up to ``limit`` rows.

    Walks go side by side, the longest first, so that the rows of a step are one block and the steps follow each other.
    Nothing here waits for the device.

    Args:
        entry: where it enters.
        chunks: the examples in chunks, with what the entry has prepared for each.
        leaving: the removal orders, int [K, N, n].
        lengths: how many steps of each to run, int [K, N].
        limit: rows in a call.

    Yields:
        What enters, [up to ``limit``, ...], to be used before the next call is made; and the draw, the example and the
        number of units gone of each row, int [rows] each.
    """
    for examples, prepared in chunks:
        going = entry.walks(prepared)
        here = lengths[:, examples]
        draw, example = np.nonzero(here)
        longest = np.argsort(-here[draw, example], kind="stable")
        together = max(1, limit // _STEPS)
        for first in range(0, len(longest), together):
            some = longest[first : first + together]
            walks = draw[some], example[some], here[draw[some], example[some]]
            yield from _side_by_side(going, leaving[:, examples], walks, examples.start, limit)


def _side_by_side(
    going: Walks,
    leaving: Tensor,
    walks: tuple[np.ndarray, np.ndarray, np.ndarray],
    first_example: int,
    limit: int,
) -> Iterator[tuple[Tensor, Places]]:
    """Some walks (draw, example among the prepared, steps), the longest first."""
    lengths = walks[2]
    widths = np.searchsorted(-lengths, -np.arange(lengths[0]))  # walks that have a step 0, 1, ...
    begins = np.concatenate([[0], widths.cumsum()])
    steps = np.repeat(np.arange(len(widths)), widths)
    arrays = (*walks[:2], steps, np.arange(begins[-1]) - begins[steps])
    draw, example, step, walk = (torch.from_numpy(each).to(leaving.device, non_blocking=True) for each in arrays)
    # Calls of about the same size: a small one costs more a row.
    calls = -(-int(begins[-1]) // limit)
    limit = max(int(widths[0]), -(-int(begins[-1]) // calls))
    going.begin(example, leaving[draw, example], min(limit, int(begins[-1])))
    from_step = 0
    while from_step < len(widths):
        to_step = int(np.searchsorted(begins, begins[from_step] + limit, side="right")) - 1
        rows = slice(int(begins[from_step]), int(begins[to_step]))
        entering = going.rows(step[rows], walk[rows], widths[from_step:to_step].tolist())
        yield entering, (draw[walk[rows]], example[walk[rows]] + first_example, step[rows] + 1)
        from_step = to_step
