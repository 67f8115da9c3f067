"""What a job has to make, and what of it is in the store. Nothing here imports torch, so a restored job starts fast."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from shapprune.core.errors import ShapPruneError
from shapprune.core.files import read_json, whole, write_json
from shapprune.workflow.store.keys import digest, from_description
from shapprune.workflow.store.store import Store

Description = Mapping[str, Any]


class Work:
    """The units of a job.

    Args:
        store: the folder of the store.
        units: label -> description of the unit (`shapprune.workflow.store.keys.Unit.describe`), with ``names`` in it:
            what tables and manifests say of the unit that is not in its key, such as the name of its criterion.

    Attributes:
        units: all of them.
        missing: those that are still to be made.
        facts: label -> what is known of the result, of those that are not.
    """

    def __init__(self, store: str | Path, units: Mapping[str, Description]):
        self._store, self.units = Store(store), units
        self.missing: dict[str, Description] = dict(units)
        self.facts: dict[str, dict[str, Any]] = {}

    def find(self, labels: Iterable[str] | None = None) -> None:
        """Look up results that have no files in the store."""
        for label in list(self.units if labels is None else labels):
            if (entry := self._store.find(self.units[label]["key"])) is not None:
                self._have(label, entry.facts)
                print(f"{label}: restored", flush=True)

    def find_files(self, folder: Path) -> None:
        """Look up results with files, and write those that are there below a folder, by their labels as stems."""
        for label, unit in self.units.items():
            if (entry := self._store.find(unit["key"])) is None:
                continue
            for suffix in entry.files:
                with whole(folder / f"{label}{suffix}") as temporary:
                    shutil.copyfile(entry.folder / suffix, temporary)
            self._write_manifest(label, folder, entry.facts)
            self._have(label, entry.facts)
            print(f"{label}: restored", flush=True)

    def keep(self, label: str, facts: Mapping[str, Any], files: Mapping[str, Path] | None = None) -> None:
        """Put a result into the store; where the store cannot be written, say so and go on.

        Raises:
            ShapPruneError: the code was edited since the run was planned.
        """
        unit = from_description(self.units[label])
        try:
            self._store.put(unit, facts, files or {})
        except OSError as error:
            print(f"store: {label} could not be kept in {self._store.root} ({error.strerror})", flush=True)
        self._have(label, dict(facts))

    def keep_files(self, label: str, folder: Path, *suffixes: str) -> None:
        """Put files below a folder, with the label as stem, and their manifest ``.json`` into the store."""
        names = self.units[label]["names"]
        facts = {key: value for key, value in read_json(folder / f"{label}.json").items() if key not in names}
        self.keep(label, facts, {suffix: folder / f"{label}{suffix}" for suffix in suffixes})
        self._write_manifest(label, folder, facts)

    def require(self, label: str, part: str, manifest: Path) -> None:
        """See to it that a file is of the unit that a unit here consumes.

        Args:
            label: the unit.
            part: the part of it that is the consumed unit's key.
            manifest: the ``.json`` of the file.

        Raises:
            ShapPruneError: it is of another.
        """
        require(manifest, self.units[label]["parts"][part])

    def consumes(self, part: str) -> str:
        """The key that all units have as that part."""
        (key,) = {str(unit["parts"][part]) for unit in self.units.values()}
        return key

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows of all results that are tables (``columns`` among their facts), with the units' names."""
        for label, unit in self.units.items():
            columns = self.facts[label]["columns"]
            for values in zip(*columns.values(), strict=True):
                yield {**unit["names"], **dict(zip(columns, values, strict=True))}

    def write_manifest(self, path: str | Path) -> None:
        """Say which units a table was made of."""
        units = {label: _in_brief(unit) for label, unit in self.units.items()}
        write_json(path, {"unit": {"key": joint_key(self.units)}, "made_of": units})

    def _have(self, label: str, facts: dict[str, Any]) -> None:
        self.facts[label] = facts
        self.missing.pop(label, None)

    def _write_manifest(self, label: str, folder: Path, facts: Mapping[str, Any]) -> None:
        unit = self.units[label]
        write_json(folder / f"{label}.json", {**unit["names"], **facts, "unit": _in_brief(unit)})


def score_label(criterion: str, layer: str, trial: int) -> str:
    """The label of the unit that is a layer's scores, and where they lie below a study's folder of scores."""
    return f"{criterion}/{layer}/trial{trial}"


def columns(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Rows of the same columns as one list a column."""
    rows = list(rows)
    return {name: [row[name] for row in rows] for name in rows[0]}


def joint_key(units: Mapping[str, Description]) -> str:
    """One key for all units of a job."""
    return digest({label: unit["key"] for label, unit in units.items()})


def require(manifest: str | Path, key: str) -> None:
    """See to it that a file is of the unit with this key.

    Raises:
        ShapPruneError: its manifest tells of another, or of none.
    """
    if read_json(manifest).get("unit", {}).get("key") != key:
        raise ShapPruneError(
            f"{manifest} is not of the present configuration and code, though Snakemake took it for up to date (was"
            " .snakemake deleted, or the file put there by hand?); delete it and run again"
        )


def _in_brief(unit: Description) -> dict[str, Any]:
    return {key: unit[key] for key in ("stage", "key", "parts")}
