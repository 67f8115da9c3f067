"""How many coalitions and examples share a call of a network, within a memory budget."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from shapprune.game.engine import Entry

# float32 takes 4 bytes, and about three of a network's largest values are alive at a time.
_ROW_BYTES = 4 * 3
# A call has so many numbers in its largest value, or so many rows if that is more. On a CPU this was measured to be
# fastest; on CUDA larger calls take more memory and no less time.
_CALL_NUMBERS, _CALL_ROWS = {"cpu": 2**20, "cuda": 128 * 2**20}, 96
# On a CPU contributions are prepared for 16 examples at a time, within these bounds in bytes.
_PREPARED_EXAMPLES, _PREPARED_BYTES = 16, (16 * 2**20, 64 * 2**20)


class Piece(NamedTuple):
    """Some coalitions of some examples that share a call.

    Attributes:
        coalitions: which.
        examples: which.
        prepared: what the entry prepared for the examples.
    """

    coalitions: slice
    examples: slice
    prepared: Tensor


class Batching:
    """Splits coalitions and examples into calls. A row is one coalition of one example.

    Args:
        device: where the network is.
        examples: how many scoring images there are, N.
        memory_mb: about how much memory a call and what is prepared for it may take on a CPU; on CUDA it is half of
            what is free.

    Attributes:
        memory: that budget, in bytes.
    """

    def __init__(self, device: torch.device, examples: int, memory_mb: int):
        self._device, self._examples = device, examples
        on_cuda = device.type == "cuda"
        self.memory = torch.cuda.mem_get_info(device)[0] // 2 if on_cuda else memory_mb * 2**20

    def images(self, numbers: int, values: int = 3) -> int:
        """How many images can run through a network together.

        Args:
            numbers: size of a value of one image.
            values: how many values of that size are alive at a time.
        """
        return max(1, self.memory // (4 * values * numbers))

    def rows(self, entry: Entry) -> int:
        """How many rows enter in a call."""
        return self.rows_of(entry.numbers)

    def rows_of(self, numbers: int) -> int:
        """How many rows share a call, if the largest value of one has so many numbers."""
        rows = self.memory // (_ROW_BYTES * numbers)
        return max(1, min(rows, max(_CALL_ROWS, _CALL_NUMBERS[self._device.type] // numbers)))

    def chunks(self, entry: Entry, most: int) -> Iterator[tuple[slice, Tensor]]:
        """The examples in chunks of at most ``most``, with what the entry prepares for them."""
        limit = self.memory // 2
        if self._device.type == "cpu":
            least, largest = _PREPARED_BYTES
            limit = min(limit, largest, max(least, _PREPARED_EXAMPLES * entry.memory()))
        size = max(1, min(most, limit // max(1, entry.memory())))
        for start in range(0, self._examples, size):
            examples = slice(start, min(start + size, self._examples))
            yield examples, entry.prepare(examples)

    def pieces(self, entry: Entry, coalitions: int, passes: int = 1) -> Iterator[Piece]:
        """All coalitions of all examples, in pieces of at most `rows` rows.

        Args:
            entry: where they enter.
            coalitions: how many.
            passes: what a row costs in memory: 1 for values, 3 for a gradient.
        """
        rows = max(1, self.rows(entry) // passes)
        together = min(rows, coalitions)
        for examples, prepared in self.chunks(entry, max(1, rows // max(1, together))):
            for start in range(0, coalitions, max(1, together)):
                yield Piece(slice(start, min(start + together, coalitions)), examples, prepared)

    def halve(self, numbers: int) -> bool:
        """Halve the memory budget, unless it is no more than a row of that many numbers takes; whether it was."""
        if self.memory <= _ROW_BYTES * numbers:
            return False
        self.memory //= 2
        return True
