"""The table of the benchmark: a row for each network, draw, method and budget, and beside it which images were right.

Beside ``NAME.csv`` lies ``NAME.npz``: for each key of the table one bit a test image, whether the smaller network has
it right. A row without a key was measured before these bits were kept.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.low_data.networks import named
from shapprune.core.errors import ShapPruneError
from shapprune.core.files import whole
from shapprune.core.tables import read_rows, write_table
from shapprune.data.sets import DATASETS

OF = ("net", "weights", "images", "draw", "method", "budget")  # what a row is of
COLUMNS = (
    *OF,
    *("macs", "share", "parameters", "milliseconds", "labels", "cpu_seconds", "seconds"),
    *("agreement", "agreement_low", "agreement_high", "agreement_test", "loss", "accuracy", "accuracy_intact"),
    *("device", "threads", "failed", "key"),
)
NOTHING = dict.fromkeys(COLUMNS, "")

Row = Mapping[str, Any]


@dataclass
class Table:
    """Rows, and the bits of those that have a key.

    Attributes:
        rows: identity -> row.
        right: key -> whether each test image was right, packed bits.
    """

    rows: dict[tuple[str, ...], Row] = field(default_factory=dict)
    right: dict[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def read(cls, *paths: str | Path) -> Table:
        """Tables put together; later rows take the place of earlier ones of the same.

        Raises:
            ShapPruneError: a table has other columns or an unknown network, or bits are damaged or missing.
        """
        table = cls()
        for path in map(Path, paths):
            rows = read_rows(path)
            if rows and set(rows[0]) != set(COLUMNS):
                odd = sorted(set(rows[0]) ^ set(COLUMNS))
                raise ShapPruneError(f"{path} is no table of this benchmark: {', '.join(odd)} missing or not known")
            right = _read_bits(path.with_suffix(".npz"))
            for row in rows:
                named(row["net"])
                if row["key"] and row["key"] not in right and not row["failed"]:
                    raise ShapPruneError(f"{path.with_suffix('.npz')} lacks the bits of {row['key']}, a row of {path}")
                table.rows[identity(row)] = row
            table.right |= right
        return table

    def add(self, row: Row, right: np.ndarray | None) -> None:
        """Add a row, or put it in the place of another one of the same, with the bits of its images, packed."""
        if (before := self.rows.get(identity(row))) is not None:
            self.right.pop(before["key"], None)
        self.rows[identity(row)] = row
        if right is not None:
            self.right[row["key"]] = right

    def remove(self, row: Row) -> None:
        """Take a row out, with its bits."""
        del self.rows[identity(row)]
        self.right.pop(row["key"], None)

    def write(self, path: str | Path) -> None:
        """Write the table and the bits of its rows."""
        path = Path(path)
        kept = {str(row["key"]) for row in self.rows.values()} & self.right.keys()
        if kept:
            with whole(path.with_suffix(".npz")) as temporary:
                np.savez_compressed(temporary, allow_pickle=False, **{key: self.right[key] for key in sorted(kept)})
        write_table(path, COLUMNS, self.rows.values())

    def bits(self, row: Row) -> np.ndarray | None:
        """Whether each test image was right, bool [N]; None where that was not kept. A failed row has none right."""
        count = DATASETS[named(row["net"]).data].test
        if row["failed"]:
            return np.zeros(count, bool)
        packed = self.right.get(row["key"])
        return None if packed is None else np.unpackbits(packed, count=count).astype(bool)


def identity(row: Row) -> tuple[str, ...]:
    """What a row is of, as text."""
    return tuple(str(row[name]) for name in OF)


def joined(tables: Iterable[Path]) -> Table:
    """Tables put together.

    Raises:
        ShapPruneError: one of them is missing or has no rows, or as `Table.read`.
    """
    paths = list(tables)
    for path in paths:
        if not path.is_file():
            raise ShapPruneError(f"{path} does not exist; `run` writes such a table")
    table = Table.read(*paths)
    if not table.rows:
        raise ShapPruneError(f"{', '.join(map(str, paths))}: no rows, so there is nothing to tell")
    return table


def _read_bits(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        return {}
    try:
        with np.load(path, allow_pickle=False) as archive:
            return dict(archive)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ShapPruneError(f"{path} is damaged ({error}); run again, and it is written from the store") from error
