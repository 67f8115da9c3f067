"""A run as a tracker logs it, and what runs of all kinds are made of.

Nothing here knows of a tracker, or imports torch.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shapprune.workflow.store.store import Store

Point = tuple[str, float, int]  # a metric's name, its value and the step


@dataclass
class LoggedRun:
    """What a tracker logs as one run.

    Attributes:
        kind: ``network``, ``scores``, ``coalitions``, ``estimator``, ``criterion``, ``compressed``, ``budget``,
            ``retrained``, ``quantised``, ``untrained``, ``tuned``, ``probed``, or ``study`` for the parent of them.
        name: of the run.
        key: of the result; of a criterion, one for all that was measured of it; of a study, the configuration's digest.
        finished: when the result was written, in seconds since 1970.
        params: by name; nested mappings become dotted names.
        metrics: the points.
        tags: further ones.
        seconds: how long the result took; of a study, how long at least one of its jobs was at work.
        data: facts of the data sets (`shapprune.data.prepared.write_prepared`).
    """

    kind: str
    name: str
    key: str
    finished: float
    params: Mapping[str, Any]
    metrics: Sequence[Point] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    data: Sequence[Mapping[str, Any]] = ()


def run_name(facts: Mapping[str, Any], what: str = "") -> str:
    """What a run is of, with its network and seed."""
    return f"{what} {facts['net']}/seed{facts['seed']}".lstrip()


def epoch_points(history: Iterable[Mapping[str, Any]]) -> Iterator[Point]:
    """The points of a training, epoch by epoch."""
    for row in history:
        for name in ("lr", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy"):
            yield from ((f"epoch/{name}", value, int(row["epoch"])) for value in known([row[name]]))


def read_rows(path: Path, delimiter: str = ",") -> Iterator[dict[str, str]]:
    """The rows of a table."""
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file, delimiter=delimiter)


def known(values: Iterable[str | float | None]) -> list[float]:
    """Those of some values that there are: a table has nothing where there is none, a manifest null."""
    return [float(each) for each in values if each is not None and each != ""]


def values_of(facts: Mapping[str, Any], names: Iterable[str]) -> list[Point]:
    """The facts with these names, those that there are, as points."""
    return [(name, value, 0) for name in names for value in known([facts.get(name)])]


def tags_of(facts: Mapping[str, Any]) -> dict[str, str]:
    """The device and the versions that a result was made with."""
    versions = {f"shapprune.versions.{name}": version for name, version in facts["versions"].items()}
    return {"shapprune.device": facts["device"], **versions}


def record_of(facts: Mapping[str, Any], store: Store) -> dict[str, str]:
    """Where the store has a result."""
    return {"shapprune.store": str(store.folder(facts["task"]["key"]))}
