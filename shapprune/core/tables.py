"""Tables as CSV files with a header and one observation a row."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from shapprune.core.files import check_finite, whole


def write_table(path: str | Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write rows as CSV, with the header even if there are none. Numbers read back equal.

    Raises:
        ValueError: a row has other columns.
        ShapPruneError: a number is not finite; None and "" say that there is none.
    """
    with whole(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            if set(row) != set(columns):
                raise ValueError(f"columns {sorted(row)} of a row are not {sorted(columns)}")
            check_finite(row, path)
            writer.writerow(row)


def read_rows(path: str | Path) -> list[dict[str, str]]:
    """The rows of a table that is gone on with; none where there is no file yet."""
    if not Path(path).exists():
        return []
    with Path(path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
