"""Removal orders walked side by side, in calls of a network of about the same size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from shapprune.game.engine import Entry, Walks

Places = tuple[Tensor, Tensor, Tensor]

# So few walks go side by side that a call holds at least this many steps: only its last step may be cut short.
_STEPS = 8


def active_first(orders: Tensor, active: Tensor) -> tuple[Tensor, Tensor]:
    """Move the units that are null players to the end of removal orders.

    Args:
        orders: removal orders of each example, int [K, N, n].
        active: the units of each example that are no null players, bool [N, n].

    Returns:
        The orders with the active units first, int [K, N, n]; the units of either kind stay in their order. And how
        many active units are gone after each step of the orders given, int [K, N, n + 1].

    Examples:
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
    """What enters a network along removal orders, in calls of up to ``limit`` rows.

    Walks go side by side, the longest first: the rows of a step are one block in memory, and the next step follows it.
    Nothing here waits for the device.

    Args:
        entry: where coalitions enter.
        chunks: the examples in chunks, with what the entry prepared for each.
        leaving: removal orders, int [K, N, n].
        lengths: number of steps to walk along each order, int [K, N].
        limit: the largest number of rows in a call.

    Yields:
        What enters, [rows, ...], which the next call may overwrite; and for each row its draw, its example and the
        number of units gone, int [rows] each.
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
    """The calls of some walks of prepared examples.

    Args:
        going: the walks.
        leaving: removal orders of the prepared examples, int [K, e, n].
        walks: draw, example among the prepared ones, and number of steps of each walk, the longest first.
        first_example: the first of the prepared examples.
        limit: the largest number of rows in a call.
    """
    lengths = walks[2]
    widths = np.searchsorted(-lengths, -np.arange(lengths[0]))  # number of walks that have a step 0, 1, ...
    begins = np.concatenate([[0], widths.cumsum()])
    steps = np.repeat(np.arange(len(widths)), widths)
    arrays = (*walks[:2], steps, np.arange(begins[-1]) - begins[steps])
    draw, example, step, walk = (torch.from_numpy(each).to(leaving.device, non_blocking=True) for each in arrays)
    # Make calls of about the same size, because a row of a small one costs more.
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
