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
    """The tasks of a job.

    Args:
        store: the folder of the store.
        tasks: label -> description of the task (`shapprune.workflow.store.keys.Task.describe`), with ``names`` in it:
            what tables and manifests say of the task that is not in its key, such as the name of its criterion.

    Attributes:
        tasks: all of them.
        missing: those that are still to be made.
        facts: label -> what is known of the result, of those that are not.
    """

    def __init__(self, store: str | Path, tasks: Mapping[str, Description]):
        self._store, self.tasks = Store(store), tasks
        self.missing: dict[str, Description] = dict(tasks)
        self.facts: dict[str, dict[str, Any]] = {}

    def find(self, labels: Iterable[str] | None = None) -> None:
        """Look up results that have no files in the store."""
        for label in list(self.tasks if labels is None else labels):
            if (record := self._store.find(self.tasks[label]["key"])) is not None:
                self._have(label, record.facts)
                print(f"{label}: restored", flush=True)

    def find_files(self, folder: Path) -> None:
        """Look up results with files, and write those that are there below a folder, by their labels as stems."""
        for label, task in self.tasks.items():
            if (record := self._store.find(task["key"])) is None:
                continue
            for suffix in record.files:
                with whole(folder / f"{label}{suffix}") as temporary:
                    shutil.copyfile(record.folder / suffix, temporary)
            self._write_manifest(label, folder, record.facts)
            self._have(label, record.facts)
            print(f"{label}: restored", flush=True)

    def keep(self, label: str, facts: Mapping[str, Any], files: Mapping[str, Path] | None = None) -> None:
        """Put a result into the store; where the store cannot be written, say so and go on.

        Raises:
            ShapPruneError: the code was edited since the run was planned.
        """
        task = from_description(self.tasks[label])
        try:
            self._store.put(task, facts, files or {})
        except OSError as error:
            print(f"store: {label} could not be kept in {self._store.root} ({error.strerror})", flush=True)
        self._have(label, dict(facts))

    def keep_files(self, label: str, folder: Path, *suffixes: str) -> None:
        """Put files below a folder, with the label as stem, and their manifest ``.json`` into the store."""
        names = self.tasks[label]["names"]
        facts = {key: value for key, value in read_json(folder / f"{label}.json").items() if key not in names}
        self.keep(label, facts, {suffix: folder / f"{label}{suffix}" for suffix in suffixes})
        self._write_manifest(label, folder, facts)

    def require(self, label: str, part: str, manifest: Path) -> None:
        """See to it that a file is of the task that a task here consumes.

        Args:
            label: the task.
            part: the part of it that is the consumed task's key.
            manifest: the ``.json`` of the file.

        Raises:
            ShapPruneError: it is of another.
        """
        require(manifest, self.tasks[label]["parts"][part])

    def consumes(self, part: str) -> str:
        """The key that all tasks have as that part."""
        (key,) = {str(task["parts"][part]) for task in self.tasks.values()}
        return key

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows of all results that are tables (``columns`` among their facts), with the tasks' names."""
        for label, task in self.tasks.items():
            columns = self.facts[label]["columns"]
            for values in zip(*columns.values(), strict=True):
                yield {**task["names"], **dict(zip(columns, values, strict=True))}

    def write_manifest(self, path: str | Path) -> None:
        """Say which tasks a table was made of."""
        tasks = {label: _in_brief(task) for label, task in self.tasks.items()}
        write_json(path, {"task": {"key": joint_key(self.tasks)}, "made_of": tasks})

    def _have(self, label: str, facts: dict[str, Any]) -> None:
        self.facts[label] = facts
        self.missing.pop(label, None)

    def _write_manifest(self, label: str, folder: Path, facts: Mapping[str, Any]) -> None:
        task = self.tasks[label]
        write_json(folder / f"{label}.json", {**task["names"], **facts, "task": _in_brief(task)})


def score_label(criterion: str, layer: str, trial: int) -> str:
    """The label of the task that is a layer's scores, and where they lie below a study's folder of scores."""
    return f"{criterion}/{layer}/trial{trial}"


def columns(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Rows of the same columns as one list a column."""
    rows = list(rows)
    return {name: [row[name] for row in rows] for name in rows[0]}


def joint_key(tasks: Mapping[str, Description]) -> str:
    """One key for all tasks of a job."""
    return digest({label: task["key"] for label, task in tasks.items()})


def require(manifest: str | Path, key: str) -> None:
    """See to it that a file is of the task with this key.

    Raises:
        ShapPruneError: its manifest tells of another, or of none.
    """
    if read_json(manifest).get("task", {}).get("key") != key:
        raise ShapPruneError(
            f"{manifest} is not of the present configuration and code, though Snakemake took it for up to date (was"
            " .snakemake deleted, or the file put there by hand?); delete it and run again"
        )


def _in_brief(task: Description) -> dict[str, Any]:
    return {key: task[key] for key in ("stage", "key", "parts")}
