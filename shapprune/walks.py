"""The rows of walks along removal orders, packed into calls of the network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from shapprune.engine import Entry

Places = tuple[Tensor, Tensor, Tensor]

_TOGETHER = 2**21  # numbers that are moved at once: beyond, memory is the slower part


def walk_rows(
    entry: Entry, chunks: Iterable[tuple[slice, Tensor]], leaving: Tensor, rows: Tensor, limit: int
) -> Iterator[tuple[Tensor, Places]]:
    """What enters the network along walks, in calls of ``limit`` rows.

    Args:
        entry: where it enters.
        chunks: the examples in chunks, with what the entry has prepared for each.
        leaving: the removal orders, int [K, N, n].
        rows: how many steps of each to run, int [K, N].
        limit: rows in a call.

    Yields:
        What enters, [up to ``limit``, ...], to be used before the next call is made; and the draw, the example and the
        number of units gone of each row, int [rows] each.
    """
    numbers = leaving.shape[0] * leaving.shape[2] * entry.shape.numel()
    if numbers <= _TOGETHER:
        yield from _all_at_once(entry, chunks, leaving, rows, limit, _TOGETHER // numbers)
    else:
        yield from _one_by_one(entry, chunks, leaving, rows, limit)


def _all_at_once(
    entry: Entry, chunks: Iterable[tuple[slice, Tensor]], leaving: Tensor, rows: Tensor, limit: int, most: int
) -> Iterator[tuple[Tensor, Places]]:
    """Short walks of small values: those of up to ``most`` examples together, in a few large operations."""
    for examples, prepared in chunks:
        for start in range(examples.start, examples.stop, most):
            some = slice(start, min(start + most, examples.stop))
            wanted_rows = rows[:, some]
            depth = int(wanted_rows.max())
            if depth < 1:
                continue
            here = slice(some.start - examples.start, some.stop - examples.start)
            entering = entry.walk_all(prepared[here], leaving[:, some], depth)
            wanted = torch.arange(depth, device=rows.device) < wanted_rows[..., None]
            draw, example, gone = wanted.nonzero(as_tuple=True)
            flat = entering[wanted]
            for first in range(0, len(flat), limit):
                piece = slice(first, first + limit)
                yield flat[piece], (draw[piece], example[piece] + some.start, gone[piece] + 1)


def _one_by_one(
    entry: Entry, chunks: Iterable[tuple[slice, Tensor]], leaving: Tensor, rows: Tensor, limit: int
) -> Iterator[tuple[Tensor, Places]]:
    """Long walks, or of large values: one after the other, packed into calls of just ``limit`` rows."""
    buffer = torch.empty(limit, *entry.shape, device=leaving.device)
    steps = rows.tolist()
    segments: list[tuple[int, int, int, int]] = []  # draw, example, units gone before the first row, rows
    filled = 0
    for examples, prepared in chunks:
        for example in range(examples.start, examples.stop):
            for draw in range(len(leaving)):
                start, last = 0, steps[draw][example]
                while start < last:
                    some = min(limit - filled, last - start)
                    out = buffer[filled : filled + some]
                    entry.walk(prepared[example - examples.start], leaving[draw, example, :last], start, out)
                    segments.append((draw, example, start, some))
                    start, filled = start + some, filled + some
                    if filled == limit:
                        yield buffer, _places(segments, leaving.device)
                        segments, filled = [], 0
    if segments:
        yield buffer[:filled], _places(segments, leaving.device)


def _places(segments: list[tuple[int, int, int, int]], device: torch.device) -> Places:
    """The draw, the example and the number of units gone of each row of some segments."""
    lengths = [rows for *_, rows in segments]
    draw, example = (np.repeat([segment[i] for segment in segments], lengths) for i in (0, 1))
    gone = np.concatenate([np.arange(start + 1, start + 1 + rows) for *_, start, rows in segments])
    one, two, three = (torch.from_numpy(each).to(device) for each in (draw, example, gone))
    return one, two, three
