"""What a table says of methods: the accuracies of blocks, and paired differences between two methods."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import combinations
from typing import NamedTuple

import numpy as np

from benchmarks.low_data.networks import named
from benchmarks.low_data.rows import Row, Table
from benchmarks.low_data.statistics import Bootstrap, Interval, wilcoxon
from shapprune.core.errors import ShapPruneError, unknown
from shapprune.parameters.comparison import holm


class Block(NamedTuple):
    """Where methods are compared: draws of the images of one network, at one budget."""

    net: str
    images: int
    budget: float


class Pair(NamedTuple):
    """How two methods differ.

    Attributes:
        one: the first method.
        other: the second.
        blocks: that both have.
        difference: the mean accuracy of the first less that of the second.
        wins: in how many blocks the first is ahead.
        losses: in how many the second is.
        p: of Wilcoxon's test over the blocks.
        p_holm: the same, raised for all pairs.
    """

    one: str
    other: str
    blocks: int
    difference: Interval
    wins: int
    losses: int
    p: float
    p_holm: float


class Results:
    """The rows of a table by block and method.

    Args:
        table: the table.
        bootstrap: how intervals are made.
    """

    def __init__(self, table: Table, bootstrap: Bootstrap | None = None):
        self._table, self._bootstrap = table, bootstrap or Bootstrap()
        self.rows: dict[Block, dict[str, dict[int, Row]]] = {}
        for row in table.rows.values():
            block = Block(str(row["net"]), int(row["images"]), float(row["budget"]))
            self.rows.setdefault(block, {}).setdefault(row["method"], {})[int(row["draw"])] = row

    @cached_property
    def methods(self) -> list[str]:
        """All of them, in the order of the table."""
        return list(dict.fromkeys(name for methods in self.rows.values() for name in methods))

    def blocks(self, images: int, *methods: str) -> list[Block]:
        """The blocks that claims rest on: those that all of these methods have, without development networks.

        What a single method has is no block to compare in.
        """
        return [
            block
            for block, found in self.rows.items()
            if block.images == images and not named(block.net).development
            if len(found) > 1 and set(methods) <= found.keys()
        ]

    def common(self, images: int, *methods: str) -> list[Block]:
        """The blocks that all of these methods have.

        Raises:
            ShapPruneError: an unknown method, or there is no such block.
        """
        for name in methods:
            if name not in self.methods:
                raise unknown("method", name, self.methods)
        found = [block for block, rows in self.rows.items() if block.images == images and set(methods) <= rows.keys()]
        if not found:
            raise ShapPruneError(f"{' and '.join(methods)} have no block with {images} images in common")
        return found

    def complete(self, images: int) -> list[str]:
        """The methods that have all blocks that claims rest on."""
        blocks = self.blocks(images)
        return [name for name in self.methods if all(name in self.rows[block] for block in blocks)]

    def right(self, block: Block, method: str) -> np.ndarray:
        """The share that is right of each draw and test image, [D, N]; [D, 1] where images are not known one by one."""
        return self._values([self.rows[block][method]])[0]

    def interval(self, block: Block, method: str) -> Interval:
        """The mean accuracy of a method over the draws of a block."""
        return self._bootstrap.interval([self.right(block, method)])

    def differences(self, block: Block, one: str, other: str) -> np.ndarray:
        """What is right more often with one method than with the other, by draw and image as `right`.

        Raises:
            ShapPruneError: they have no draw in common.
        """
        first, second = self._common(block, (one, other))
        return first - second

    def difference(self, blocks: Sequence[Block], one: str, other: str) -> Interval:
        """The mean difference of two methods over some blocks."""
        return self._bootstrap.interval([self.differences(block, one, other) for block in blocks])

    def accuracies(self, images: int) -> tuple[list[str], list[Block], np.ndarray]:
        """Complete methods, blocks that claims rest on, and mean accuracies of common draws, [blocks, methods]."""
        methods, blocks = self.complete(images), self.blocks(images)
        found = [[float(values.mean()) for values in self._common(block, methods)] for block in blocks]
        return methods, blocks, np.array(found).reshape(len(blocks), len(methods))

    def pairs(self, images: int) -> list[Pair]:
        """All pairs of methods that have all blocks that claims rest on."""
        return self.compare(images, list(combinations(self.complete(images), 2)))

    def compare(self, images: int, pairs: Sequence[tuple[str, str]]) -> list[Pair]:
        """Pairs of methods, each over the blocks that both have and claims rest on; p-values are raised for all."""
        found = []
        for one, other in pairs:
            blocks = self.blocks(images, one, other)
            means = [float(self.differences(block, one, other).mean()) for block in blocks]
            about = (
                self.difference(blocks, one, other),
                sum(each > 0 for each in means),
                sum(each < 0 for each in means),
            )
            found.append((one, other, len(blocks), *about, wilcoxon(means)))
        raised = holm([each[-1] for each in found])
        return [Pair(*each, p) for each, p in zip(found, raised, strict=True)]

    def places(self) -> Iterator[tuple[str, int]]:
        """Each network and number of images, in the order of the table."""
        yield from dict.fromkeys((block.net, block.images) for block in self.rows)

    def _common(self, block: Block, methods: Sequence[str]) -> list[np.ndarray]:
        """What `right` says of the draws that all of some methods have."""
        rows = [self.rows[block][name] for name in methods]
        draws = sorted(set(rows[0]).intersection(*rows)) if rows else []
        if rows and not draws:
            raise ShapPruneError(f"{', '.join(methods)}: no draw of {block.net} at {block.budget:g} in common")
        return self._values([{draw: each[draw] for draw in draws} for each in rows])

    def _values(self, methods: Sequence[dict[int, Row]]) -> list[np.ndarray]:
        """Of each method [D, N] if all bits are there, else [D, 1]."""
        bits = [[self._table.bits(rows[draw]) for draw in sorted(rows)] for rows in methods]
        if all(each is not None for rows in bits for each in rows):
            return [np.array(rows, np.float32) for rows in bits]
        return [
            np.array([[0.0 if rows[draw]["failed"] else float(rows[draw]["accuracy"])] for draw in sorted(rows)])
            for rows in methods
        ]
